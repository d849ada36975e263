//! The collector counts rejections by status and by reason.

use super::Victim;

#[test]
fn refusals_are_counted_by_status_and_by_reason() {
    let victim = Victim::start_with(&["--max-body-bytes", "100"]);
    let counted = |line: &str| {
        let metrics = victim.get("/metrics");
        assert!(
            metrics.text().lines().any(|counted| counted == line),
            "{line} is not in {}",
            metrics.text()
        );
    };
    counted("rowmill_requests_refused_total{status=\"413\"} 0");
    assert_eq!(victim.post("/wh/mail", &"x".repeat(101)).status, 413);
    assert_eq!(victim.get("/").status, 200);
    for _ in 0..2 {
        assert_eq!(victim.get("/one").status, 404);
    }
    assert_eq!(victim.post("/wh/mail", "{").status, 400);
    assert_eq!(victim.post("/track/page", r#"{"sess":{"num":"x"}}"#).status, 400);
    // The answer of a pixel is the image, even if its event is rejected.
    assert_eq!(victim.get("/track/page.gif?sess_num=y").status, 200);
    for line in [
        "rowmill_requests_refused_total{status=\"400\"} 2",
        "rowmill_requests_refused_total{status=\"404\"} 2",
        "rowmill_requests_refused_total{status=\"408\"} 0",
        "rowmill_requests_refused_total{status=\"413\"} 1",
        "rowmill_requests_refused_total{status=\"503\"} 0",
        "rowmill_events_refused_total{code=\"json\"} 1",
        "rowmill_events_refused_total{code=\"malformed\"} 2",
        "rowmill_events_refused_total{code=\"other\"} 0",
    ] {
        counted(line);
    }
    assert_eq!(victim.stop().dead_letters.len(), 3);
}
