//! The names of browser and system in the header `User-Agent`, without versions.

/// The marks of browsers, in the order in which they are searched: nearly every browser also names
/// those that it resembles.
const BROWSERS: [(&str, &str); 15] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Opera", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex Browser"),
    ("Vivaldi/", "Vivaldi"),
    ("UCBrowser/", "UC Browser"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("Trident/", "Internet Explorer"),
    ("MSIE ", "Internet Explorer"),
];

/// The marks of systems, in the order in which they are searched.
const SYSTEMS: [(&str, &str); 9] = [
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iOS"),
    ("iPad", "iOS"),
    ("iPod", "iOS"),
    ("CrOS", "ChromeOS"),
    ("Macintosh", "macOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];

/// The name of a browser or a system that is not in the lists.
const OTHER: &str = "Other";

/// Returns the names of browser and system.
pub(crate) fn family(user_agent: &str) -> String {
    format!("{} on {}", name(user_agent, &BROWSERS), name(user_agent, &SYSTEMS))
}

fn name(user_agent: &str, marks: &[(&str, &'static str)]) -> &'static str {
    let found = marks.iter().find(|(mark, _)| user_agent.contains(mark));
    found.map_or(OTHER, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::family;

    #[test]
    fn browsers_and_systems_have_names() {
        let webkit = "AppleWebKit/537.36 (KHTML, like Gecko)";
        for (user_agent, expected) in [
            (
                format!("Mozilla/5.0 (Windows NT 10.0; Win64; x64) {webkit} Chrome/126.0.0.0 Safari/537.36"),
                "Chrome on Windows",
            ),
            (
                format!("Mozilla/5.0 (Windows NT 10.0; Win64; x64) {webkit} Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0"),
                "Edge on Windows",
            ),
            (
                format!("Mozilla/5.0 (Linux; Android 10; K) {webkit} SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36"),
                "Samsung Internet on Android",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0".to_owned(),
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 \
                 Mobile/15E148 Safari/604.1"
                    .to_owned(),
                "Safari on iOS",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 \
                 Safari/605.1.15"
                    .to_owned(),
                "Safari on macOS",
            ),
            ("curl/8.5.0".to_owned(), "Other on Other"),
            (String::new(), "Other on Other"),
        ] {
            assert_eq!(family(&user_agent), expected);
        }
    }
}
