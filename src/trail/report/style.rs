//! Colours and layout of the page.

/// The style sheet; the first two blocks are the palettes, light and dark.
pub const CSS: &str = ":root{color-scheme:light dark;--ground:#ffffff;--card:#f6f7f9;--ink:#1b2330;--soft:#566070;--line:#d9dee6;--good:#1f6f8b;--bad:#b5432a}
@media(prefers-color-scheme:dark){:root{--ground:#12161d;--card:#1b212b;--ink:#e8ecf2;--soft:#a3adbb;--line:#323b48;--good:#62b6d4;--bad:#f08a6c}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
header,main,footer{max-width:68rem;margin:auto;padding:1.5rem 1rem}header{padding-top:3rem;padding-bottom:0}h1{margin:0;font-size:2rem;line-height:1.2}h2{font-size:1.15rem;margin:0 0 .5rem}p{margin:.25rem 0 .75rem}.soft,footer,th,summary{color:var(--soft)}
main{display:grid;gap:1.25rem;grid-template-columns:repeat(2,minmax(0,1fr))}section{background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:1.25rem;min-width:0}.wide{grid-column:1/-1}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:1rem;margin:0}dd{margin:0;font-size:1.75rem;font-weight:600;line-height:1.2}dt{color:var(--soft);font-size:.875rem}dl div{display:flex;flex-direction:column-reverse;justify-content:flex-end}
table{width:100%;border-collapse:collapse;font-size:.9rem}td,th{text-align:left;padding:.35rem .5rem .35rem 0;border-top:1px solid var(--line);vertical-align:top;font-weight:400}thead th{border:0;font-size:.8rem}td:not(:first-child):last-child{overflow-wrap:normal}.n{text-align:right;padding-right:0;padding-left:.75rem;overflow-wrap:normal}
svg{display:block;width:100%}.chart{height:10rem}.row{height:.35rem;margin-top:.25rem}.good{fill:var(--good)}.bad{fill:var(--bad)}.rest{fill:var(--line)}.more{fill:var(--soft)}.axis{display:flex;justify-content:space-between;font-size:.8rem;color:var(--soft);margin:.25rem 0 .5rem}summary{cursor:pointer;font-size:.875rem}
@media(max-width:640px){main{grid-template-columns:minmax(0,1fr)}header{padding-top:1.5rem}h1{font-size:1.5rem}section{padding:1rem}}
@media print{:root{--ground:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--good:#1f6f8b;--bad:#b5432a}body{font-size:10pt}section{break-inside:avoid;padding:.75rem}*{print-color-adjust:exact}details::details-content{content-visibility:visible;display:block;height:auto}summary{list-style:none}}
";

#[cfg(test)]
mod tests {
    use super::CSS;

    fn light(colour: &str) -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
    }

    #[test]
    fn text_and_bars_stand_out_in_both_schemes() {
        for line in CSS.lines().take(2) {
            let colour = |name: &str| light(&line.split(&format!("--{name}:#")).nth(1).unwrap()[..6]);
            for (ground, ink) in
                ["ground", "card"].iter().flat_map(|ground| ["ink", "soft", "good", "bad"].map(|ink| (*ground, ink)))
            {
                let (one, other) = (colour(ground), colour(ink));
                let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
                assert!(contrast >= 4.5, "{ink} on {ground}: {contrast:.2}");
            }
        }
    }
}
