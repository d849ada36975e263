//! The gallery: schema files for common kinds of tables, each with an example event.

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;

/// The day in the example events; some tables refuse old events.
const EXAMPLE_DAY: &str = "2026-11-28";

const DAY: Duration = Duration::from_secs(86_400);

/// A schema file of the gallery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Example {
    /// The name of the file, without its extension.
    pub(crate) name: &'static str,
    /// The schema file.
    pub(crate) schema: &'static str,
    /// An event for its first route, as JSON.
    pub(crate) event: &'static str,
}

impl Example {
    /// Returns the first line of the schema file, which says what the table is for.
    pub(crate) fn summary(&self) -> &'static str {
        let line = self.schema.lines().next().unwrap_or_default();
        line.trim_start_matches(['#', ' '])
    }

    /// Returns the event with the day of yesterday.
    pub(crate) fn event_of_yesterday(&self) -> Result<serde_json::Value, Box<dyn Error>> {
        let yesterday = Timestamp::try_from(SystemTime::now() - DAY)?.to_string();
        let yesterday = yesterday.get(..EXAMPLE_DAY.len()).unwrap_or(EXAMPLE_DAY);
        Ok(serde_json::from_str(&self.event.replace(EXAMPLE_DAY, yesterday))?)
    }

    /// Returns the path of the first route of a webhook.
    pub(crate) fn path(&self) -> Option<&'static str> {
        let mut keys = self.schema.lines().map(|line| line.trim_start().split(':').next());
        keys.find_map(|key| key.filter(|key| key.starts_with("wh/")))
    }
}

/// Embeds files of `schemas/gallery`.
macro_rules! examples {
    ($($name:literal),* $(,)?) => {
        &[$(Example {
            name: $name,
            schema: include_str!(concat!("../schemas/gallery/", $name, ".yml")),
            event: include_str!(concat!("../schemas/gallery/", $name, ".json")),
        }),*]
    };
}

/// All examples, in the order of their names.
pub(crate) const EXAMPLES: &[Example] = examples![
    "ads",
    "ci",
    "commerce",
    "errors",
    "feedback",
    "iot",
    "llm_traces",
    "logs",
    "mail_events",
    "product_analytics",
    "traces",
    "web_analytics",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{fs, path::Path};

    use super::EXAMPLES;

    #[test]
    fn each_file_of_the_gallery_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/gallery");
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        let embedded: Vec<&str> = EXAMPLES.iter().map(|example| example.name).collect();
        assert_eq!(embedded, names);
    }

    #[test]
    fn each_example_has_a_summary_a_webhook_and_an_event() {
        for example in EXAMPLES {
            assert!(example.summary().ends_with(['.', ':']) || example.summary().len() > 20);
            let path = example.path().unwrap();
            assert!(path.split('/').count() == 2, "{path}");
            let event: serde_json::Value = serde_json::from_str(example.event).unwrap();
            assert!(event.is_object());
        }
    }
}
