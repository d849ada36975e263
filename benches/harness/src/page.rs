//! Writes the figures of a bench into the documentation, between two comments that name the bench.

use std::{fs, path::Path};

use crate::Failure;

/// Replaces the section of a page between `<!-- NAME -->` and `<!-- end of NAME -->` with `text`.
///
/// # Errors
/// If the page has no such section, or cannot be written.
pub fn write_section(page: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let old = fs::read_to_string(page)?;
    let new = with_section(&old, name, text).ok_or_else(|| format!("{} has no section {name}", page.display()))?;
    Ok(fs::write(page, new)?)
}

fn with_section(page: &str, name: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(&format!("<!-- {name} -->"))?;
    let (_, after) = rest.split_once(&format!("<!-- end of {name} -->"))?;
    Some(format!(
        "{before}<!-- {name} -->\n\n{}\n\n<!-- end of {name} -->{after}",
        text.trim()
    ))
}

/// Returns a one-line description of the machine that runs the bench.
pub fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{} cores of {}, Linux {}",
        std::thread::available_parallelism().map_or(0, usize::from),
        model.map_or("an unknown model", |(_, name)| name),
        kernel.trim().split('-').next().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_nothing_else() {
        let page = "# A\n<!-- cores -->\nold\n<!-- end of cores -->\nB\n<!-- tables --><!-- end of tables -->\n";
        let new = with_section(page, "cores", "new\n");
        let expected =
            "# A\n<!-- cores -->\n\nnew\n\n<!-- end of cores -->\nB\n<!-- tables --><!-- end of tables -->\n";
        assert_eq!(new.as_deref(), Some(expected));
        assert_eq!(with_section(expected, "cores", "new"), new);
        assert_eq!(with_section(page, "columns", ""), None);
    }
}
