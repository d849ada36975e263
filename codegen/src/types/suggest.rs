//! Which known word was meant by an unknown one.

/// Returns the candidate that is nearest to `word`, or none that is near enough to be what was meant.
///
/// Case counts for nothing, and a swap of two neighbours is one mistake; one letter in three may be wrong, and one in
/// any word. Of equally near candidates the first wins.
pub(crate) fn closest<'n>(word: &str, candidates: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    let allowed = (length / 3).max(1);
    candidates
        .into_iter()
        // The distance is at least the difference of the lengths; most candidates end here.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= allowed)
        .map(|candidate| (strsim::osa_distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [&str; 4] = ["Int32", "UInt32", "String", "DateTime"];

    #[test]
    fn a_slip_finds_its_word() {
        assert_eq!(closest("Strng", WORDS), Some("String"));
        assert_eq!(closest("Stirng", WORDS), Some("String"));
        assert_eq!(closest("UInt33", WORDS), Some("UInt32"));
    }

    #[test]
    fn case_alone_is_the_nearest_of_all() {
        assert_eq!(closest("STRING", WORDS), Some("String"));
        assert_eq!(closest("uint32", WORDS), Some("UInt32"));
    }

    #[test]
    fn a_stranger_finds_none() {
        assert_eq!(closest("Banana", WORDS), None);
        assert_eq!(closest("", WORDS), None);
        assert_eq!(closest("x", ["y"]), None);
    }
}
