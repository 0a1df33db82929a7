//! A page that an organisation prints and hands over: the picture, the key as text, and what to do with them.

use zeroize::Zeroizing;

use crate::brand::Brand;

/// What stands on a card.
pub struct Card<'a> {
    /// Who issues the codes, as the app shows it.
    pub issuer: &'a str,
    /// Whose codes they are, as the app shows it.
    pub account: &'a str,
    /// What the device is called.
    pub label: &'a str,
    /// On which machine the account is.
    pub host: &'a str,
    /// The key, in groups of four.
    pub key: &'a str,
    /// What has to be set by hand, where that is not usual.
    pub shape: Option<String>,
    /// The picture as an SVG element.
    pub svg: &'a str,
}

impl Card<'_> {
    /// The page. It needs nothing from elsewhere and runs no script.
    pub fn page(&self, brand: &Brand) -> Zeroizing<String> {
        let shown = brand.issuer.as_deref().unwrap_or(self.issuer);
        let [title, issuer, account, label, host] =
            [shown, self.issuer, self.account, self.label, self.host].map(escaped);
        let key: String = self.key.split(' ').map(|group| format!("<span>{}</span>", escaped(group))).collect();
        let key = Zeroizing::new(key);
        let shape =
            self.shape.as_deref().map(|shape| format!("<p class=\"note\">By hand, also set: {}.</p>", escaped(shape)));
        let (dark, light) = (brand.dark.in_css(), brand.light.in_css());
        Zeroizing::new(format!(
            r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="robots" content="noindex">
<title>{title}: one-time codes for {account}</title>
<style>
@page {{ size: A6 portrait; margin: 7mm }}
* {{ box-sizing: border-box }}
body {{ margin: 0; background: #ececec; color: #1a1a1a; font: 15px/1.45 system-ui, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif }}
main {{ max-width: 105mm; margin: 2rem auto; padding: 7mm; background: {light}; color: {dark}; border-radius: 3mm; box-shadow: 0 1px 6px #0003 }}
h1 {{ margin: 0; font-size: 1.25rem; line-height: 1.2 }}
header p {{ margin: .15rem 0 .8rem }}
svg {{ display: block; width: 62mm; max-width: 100%; margin: 0 auto }}
dl {{ display: grid; grid-template-columns: auto 1fr; gap: .1rem .8rem; margin: .6rem 0; overflow-wrap: anywhere }}
dt {{ font-weight: 600 }}
dd {{ margin: 0 }}
.key {{ display: grid; grid-template-columns: repeat(4, max-content); gap: .1rem 1.2ch; margin: .2rem 0 .6rem; font: 600 1.02rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace }}
ol {{ margin: .4rem 0 0; padding-left: 1.3rem }}
.note {{ margin: .3rem 0 }}
@media print {{
  body {{ background: none; font-size: 9pt }}
  main {{ margin: 0; padding: 0; max-width: none; box-shadow: none; border-radius: 0; print-color-adjust: exact; -webkit-print-color-adjust: exact }}
  svg {{ width: 52mm }}
}}
</style>
</head>
<body>
<main>
<header>
<h1>{title}</h1>
<p>One-time codes for logging in</p>
</header>
{svg}<dl>
<dt>Account</dt><dd>{account}</dd>
<dt>Issuer</dt><dd>{issuer}</dd>
<dt>Device</dt><dd>{label}</dd>
<dt>Machine</dt><dd>{host}</dd>
</dl>
<p class="note">Or type this key into the app:</p>
<p class="key">{key}</p>
{shape}<ol>
<li>Scan the picture with an authenticator app.</li>
<li>Log in once with a code from it.</li>
<li>Destroy this card: whoever has it has your codes.</li>
</ol>
</main>
</body>
</html>
"#,
            svg = self.svg,
            key = *key,
            shape = shape.unwrap_or_default(),
        ))
    }
}

/// A text that is no markup, whatever it is.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_holds_everything_and_names_are_no_markup() {
        let card = Card {
            issuer: "Example",
            account: "<script>alert(1)</script>",
            label: "red \"phone\" & more",
            host: "h1\u{1b}",
            key: "ABCD EFGH",
            shape: Some("SHA256, 8 digits".to_owned()),
            svg: "<svg></svg>",
        };
        let page = card.page(&Brand { issuer: Some("Example & Sons".to_owned()), ..Brand::plain() });
        for part in [
            "<h1>Example &amp; Sons</h1>",
            "<svg></svg>",
            "<span>ABCD</span><span>EFGH</span>",
            "SHA256, 8 digits",
            "&quot;phone&quot; &amp; more",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(
            !page.contains("<script")
                && !page.contains('\u{1b}')
                && !page.contains("http://")
                && !page.contains("https://")
        );
    }
}
