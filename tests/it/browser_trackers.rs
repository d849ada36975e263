//! The trackers of browsers in Chromium: analytics.js of Segment and the browser tracker of Snowplow,
//! changed in nothing but the host, against a real ClickHouse.

use std::fs;

use embedder::tables;
use rowmill_ingest::server::not_found;
use tower::{Layer, service_fn};

use crate::support::{browser, clients, engine::Database, service::Served};

/// The script in which analytics.js puts `AnalyticsNext` into the page.
const SEGMENT: &str = "@segment/analytics-next/dist/umd/index.js";

/// The script in which the tracker puts `snowplowBrowserTracking` into the page.
const SNOWPLOW: &str = "@snowplow/browser-tracker/dist/index.umd.min.js";

/// Opens a page with a tracker, whose script shows `sent` once all requests are answered, and returns
/// the rows of a query; `None` without the tracker or a browser.
fn rows_of_page(name: &str, library: &str, script: &str, query: &str) -> Option<String> {
    let library = clients::of_npm()?.join("node_modules").join(library);
    let library = fs::read_to_string(library).unwrap();
    let database = Database::create(name);
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    let script = script.replace("HOST", &served.address.to_string());
    let page = format!(
        r#"<!doctype html><meta charset="utf-8"><title>Home</title><pre id="out"></pre>
<script>{library}</script>
<script>const show = (text) => document.getElementById('out').textContent += text + ' '</script>
<script>{script}</script>"#
    );
    let site = browser::site(page);
    let Some(document) = browser::open(&format!("http://{site}/shop")) else {
        eprintln!("there is no chromium: the test is skipped");
        return None;
    };
    let shown = document.split(r#"<pre id="out">"#).nth(1).unwrap();
    assert_eq!(shown.split("</pre>").next(), Some("sent "));
    served.drain();
    assert_eq!(database.count("rejected"), 0);
    Some(database.query(&format!("{query} FORMAT TSVRaw")))
}

#[test]
fn analytics_js_of_segment() {
    // Each call is a request, and then three calls are one.
    let script = r"
const load = (deliveryStrategy) => AnalyticsNext.AnalyticsBrowser.load({
  writeKey: 'KEY',
  cdnSettings: { integrations: { 'Segment.io': { apiKey: 'KEY', apiHost: 'HOST/v1', protocol: 'http', deliveryStrategy } } },
});
(async () => {
  for (const strategy of [undefined, { strategy: 'batching', config: { size: 3, timeout: 100 } }]) {
    const analytics = load(strategy);
    await Promise.all([
      analytics.identify('u1', { plan: 'pro' }),
      analytics.track('Order Completed', { total: 27.5, note: '£ÿ' }),
      analytics.page('Home'),
    ]);
  }
  // The last batch leaves after its time.
  await new Promise((done) => setTimeout(done, 1000));
  show('sent');
})();";
    let query = "SELECT type, event, name, user_id, library, path, title, ifNull(toString(properties.total), ''), ifNull(toString(properties.note), ''), traits, count(), \
                 uniq(message_id), uniq(anonymous_id), min(happened_at) > '2026-01-01' FROM segment_events GROUP BY ALL ORDER BY type";
    if let Some(rows) = rows_of_page("browser_segment", SEGMENT, script, query) {
        assert_eq!(
            rows,
            "identify\t\t\tu1\tanalytics.js\t/shop\tHome\t\t\t{\"plan\":\"pro\"}\t2\t2\t1\t1\n\
             page\t\tHome\tu1\tanalytics.js\t/shop\tHome\t\t\t{}\t2\t2\t1\t1\n\
             track\tOrder Completed\t\tu1\tanalytics.js\t/shop\tHome\t27.5\t£ÿ\t{}\t2\t2\t1\t1\n"
        );
    }
}

#[test]
fn the_browser_tracker_of_snowplow() {
    let script = r"
let answered = 0;
const snowplow = snowplowBrowserTracking;
for (const eventMethod of ['post', 'get']) {
  snowplow.newTracker(eventMethod, 'http://HOST', {
    appId: 'shop', platform: 'web', eventMethod, bufferSize: 1,
    onRequestSuccess: (events) => { answered += events.length; if (answered === 6) show('sent'); },
    onRequestFailure: (failure) => show('failed=' + failure.status + failure.message),
  });
}
snowplow.setUserId('u1');
const context = [{ schema: 'iglu:com.acme/user/jsonschema/1-0-0', data: { kind: 'tester' } }];
snowplow.trackPageView({ context });
snowplow.trackStructEvent({ category: 'cart', action: 'add', value: 9.5 });
snowplow.trackSelfDescribingEvent({ event: { schema: 'iglu:com.acme/order/jsonschema/1-0-0', data: { number: 'A-1', note: '£ÿ?' } } });";
    let query = "SELECT event, app_id, platform, user_id, title, category, action, value, schema, data, \
                 contexts LIKE '%\"kind\":\"tester\"%', count(), uniq(tracker_name), uniq(event_id), \
                 min(happened_at) > '2026-01-01', min(length(domain_user_id)) FROM snowplow_events GROUP BY ALL ORDER BY event";
    if let Some(rows) = rows_of_page("browser_snowplow", SNOWPLOW, script, query) {
        assert_eq!(
            rows,
            "pv\tshop\tweb\tu1\tHome\t\t\t\\N\t\t\t1\t2\t2\t2\t1\t36\n\
             se\tshop\tweb\tu1\t\tcart\tadd\t9.5\t\t\t0\t2\t2\t2\t1\t36\n\
             ue\tshop\tweb\tu1\t\t\t\t\\N\tiglu:com.acme/order/jsonschema/1-0-0\t{\"number\":\"A-1\",\"note\":\"£ÿ?\"}\t0\t2\t2\t2\t1\t36\n"
        );
    }
}
