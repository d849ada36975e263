//! Suggestions: the known word that an unknown one was meant to be.

/// Returns the candidate nearest to `word`, or none if no candidate is near enough.
///
/// Case does not matter, and a swap of two neighbours is one mistake. One character in three may be
/// wrong, and at least one in any word. The first of equally near candidates wins.
pub(crate) fn closest<'n>(word: &str, candidates: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    let allowed = (length / 3).max(1);
    candidates
        .into_iter()
        // The distance is at least the difference of the lengths; this excludes most candidates.
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
    fn misspelt_words_find_the_closest() {
        assert_eq!(closest("Strng", WORDS), Some("String"));
        assert_eq!(closest("Stirng", WORDS), Some("String"));
        assert_eq!(closest("UInt33", WORDS), Some("UInt32"));
    }

    #[test]
    fn case_is_ignored() {
        assert_eq!(closest("STRING", WORDS), Some("String"));
        assert_eq!(closest("uint32", WORDS), Some("UInt32"));
    }

    #[test]
    fn unrelated_words_find_none() {
        assert_eq!(closest("Banana", WORDS), None);
        assert_eq!(closest("", WORDS), None);
        assert_eq!(closest("x", ["y"]), None);
    }
}
