//! HTML and SVG, written by one small hand. Every text goes through [`Html::text`] or an attribute's value, which escape alike;
//! names of elements and attributes are in the program.

/// A piece of a page.
#[derive(Default)]
pub struct Html(String);

/// An attribute: its name and its value.
pub type Attribute<'a> = (&'static str, &'a str);

impl Html {
    /// The whole as text.
    pub fn finish(self) -> String {
        self.0
    }

    /// Markup of the program's own: no word of anybody else's.
    pub fn fixed(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// A text, whoever it is from.
    pub fn text(&mut self, text: &str) -> &mut Self {
        escape(text, &mut self.0);
        self
    }

    /// An element around what `inside` writes.
    pub fn element(
        &mut self,
        name: &'static str,
        attributes: &[Attribute<'_>],
        inside: impl FnOnce(&mut Self),
    ) -> &mut Self {
        self.empty(name, attributes);
        inside(self);
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
        self
    }

    /// An element around a text.
    pub fn leaf(&mut self, name: &'static str, attributes: &[Attribute<'_>], text: &str) -> &mut Self {
        self.element(name, attributes, |inside| {
            inside.text(text);
        })
    }

    /// An element that has no end.
    pub fn empty(&mut self, name: &'static str, attributes: &[Attribute<'_>]) -> &mut Self {
        self.0.push('<');
        self.0.push_str(name);
        for (key, value) in attributes {
            self.0.push(' ');
            self.0.push_str(key);
            self.0.push_str("=\"");
            escape(value, &mut self.0);
            self.0.push('"');
        }
        self.0.push('>');
        self
    }
}

/// What means something in markup becomes a character reference; what cannot be seen, or turns the direction of writing, is
/// shown by its number.
fn escape(text: &str, into: &mut String) {
    for character in text.chars() {
        match character {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            '\'' => into.push_str("&#39;"),
            odd if is_odd(odd) => into.extend(odd.escape_unicode()),
            plain => into.push(plain),
        }
    }
}

fn is_odd(character: char) -> bool {
    let turns =
        matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
    character.is_control() || turns || character == '\u{feff}'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text_in_elements_and_in_attributes() {
        let hostile = "</td><script>alert('x')</script>\"& \u{0}\u{1b}[31m\n\u{202e}";
        let mut html = Html::default();
        html.leaf("td", &[("title", hostile)], hostile);
        let shown =
            "&lt;/td&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp; \\u{0}\\u{1b}[31m\\u{a}\\u{202e}";
        assert_eq!(html.finish(), format!("<td title=\"{shown}\">{shown}</td>"));
    }

    #[test]
    fn elements_nest() {
        let mut html = Html::default();
        html.element("p", &[], |p| {
            p.text("a").leaf("b", &[], "c").empty("br", &[]);
        });
        assert_eq!(html.finish(), "<p>a<b>c</b><br></p>");
    }
}
