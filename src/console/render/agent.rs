//! The programs that people use, by what they call themselves.

use maud::{Markup, html};

/// What tells a browser, the more specific first: most call themselves by each other's names too.
const BROWSERS: [(&str, &str); 9] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Safari/", "Safari"),
];
/// What tells a system.
const SYSTEMS: [(&str, &str); 7] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
];

/// A program in words; hover or focus shows what it calls itself.
pub fn agent(text: Option<&str>) -> Markup {
    html! {
        @match text {
            Some(text) => strong data-exact=(text) tabindex="0" { (words(text)) },
            None => strong { "Unknown program" },
        }
    }
}

/// `Firefox on Linux`
pub fn words(text: &str) -> String {
    let named = |names: &[(&str, &'static str)]| {
        names.iter().find(|(sign, _)| text.contains(sign)).map(|(_, name)| *name)
    };
    match (named(&BROWSERS), named(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, _) => text.split(['/', ' ']).next().unwrap_or(text).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_named_as_people_name_them() {
        let webkit = "(KHTML, like Gecko)";
        let cases = [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0".to_owned(),
                "Firefox on Linux",
            ),
            (
                format!(
                    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 {webkit} \
                      Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0"
                ),
                "Edge on Windows",
            ),
            (
                format!(
                    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 \
                      {webkit} Version/17.5 Safari/605.1.15"
                ),
                "Safari on macOS",
            ),
            (
                format!(
                    "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 {webkit} \
                      Chrome/126.0.0.0 Mobile Safari/537.36"
                ),
                "Chrome on Android",
            ),
            (
                format!(
                    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 \
                      {webkit} CriOS/126.0 Mobile/15E148 Safari/604.1"
                ),
                "Chrome on iPhone",
            ),
            ("curl/8.5.0".to_owned(), "curl"),
        ];
        for (text, expected) in cases {
            assert_eq!(words(&text), expected);
        }
    }
}
