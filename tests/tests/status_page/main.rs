//! The status page in a real browser.

mod browser;

use browser::Page;
use tests::{App, Exit, Launch, Load, Scratch, Signal};

/// Markup that would act if the page took it for such.
const MARKUP: &str = "<img src=x onerror=\"document.title='owned'\"> <script>document.title='owned'</script>";

async fn url_of(app: &App) -> String {
    let line = app.log.line(0, "status page on http://").await;
    let url = line.split("status page on ").nth(1).expect("a URL");
    url.split_whitespace().next().expect("a URL").to_owned()
}

fn operated(scratch: &Scratch) -> Launch {
    let check = scratch.write("check", "");
    Launch::bin("operated").env("APP_CHECK", check).env("GRACEHTTP_ADMIN", "127.0.0.1:0")
}

#[tokio::test]
async fn it_shows_what_the_process_does_and_follows_it_through_restarts() {
    let scratch = Scratch::new();
    let app = operated(&scratch).start("web").await;
    let Some(mut page) = Page::open(&url_of(&app).await, "light").await else { return };
    page.until("document.getElementById('state').textContent === 'Ready'").await;
    page.until(&format!("document.getElementById('about').textContent.includes('pid {}')", app.pid())).await;
    let load = Load::on(&app.target("web").await).clients(4, tests::load::Style::Get);
    page.until("Number(document.getElementById('rate').textContent.replaceAll('\\u202f', '')) > 10").await;
    page.until("document.querySelector('#servers th').textContent === 'web'").await;
    page.until("document.querySelectorAll('#health li').length === 3").await;
    page.picture("light").await;

    // The same page, without a reload, shows the successor.
    for generation in 2..=3 {
        let successor = app.restart().await;
        let shown = format!("generation {generation} · pid {}", successor.pid());
        page.until(&format!("document.getElementById('about').textContent.includes('{shown}')")).await;
        page.until("document.getElementById('state').textContent === 'Ready'").await;
    }
    page.until("document.querySelectorAll('#receipts th').length === 2").await;
    page.until("document.getElementById('said').textContent.includes('Ready')").await;
    load.stop().await.assert_unnoticed();
    assert_eq!(page.complaints, Vec::<String>::new());

    assert_eq!(app.stop().await, Exit::Code(0));
    page.until("document.getElementById('state').textContent === 'No answer'").await;
}

#[tokio::test]
async fn text_from_the_log_and_from_errors_is_never_markup() {
    let scratch = Scratch::new();
    let app = operated(&scratch).start("web").await;
    let Some(mut page) = Page::open(&url_of(&app).await, "dark").await else { return };
    page.until("document.getElementById('state').textContent === 'Ready'").await;
    scratch.write("check", format!("fail {MARKUP}"));
    // It comes to the health, to the log, and to the receipt.
    app.signal(Signal::HUP);
    page.until("document.getElementById('receipts').textContent.includes('<script>')").await;
    page.until("document.getElementById('log').textContent.includes('<script>')").await;
    page.until("document.getElementById('health').textContent.includes('<script>')").await;
    page.until("document.getElementById('state').textContent === 'Not ready: database failed'").await;
    page.picture("dark").await;
    assert_eq!(page.value("document.querySelectorAll('main img, main script').length").await, 0);
    assert_ne!(page.value("document.title").await, "owned");
    assert_eq!(page.complaints, Vec::<String>::new());
}

#[tokio::test]
async fn those_who_do_not_see_it_find_their_way() {
    let scratch = Scratch::new();
    let app = operated(&scratch).start("web").await;
    let Some(mut page) = Page::open(&url_of(&app).await, "light").await else { return };
    page.until("document.getElementById('state').textContent === 'Ready'").await;
    let all = |selector: &str, rule: &str| {
        format!("[...document.querySelectorAll('{selector}')].every((one) => {rule})")
    };
    for rule in [
        "document.documentElement.lang === 'en'".to_owned(),
        "document.querySelectorAll('h1').length === 1 && document.querySelectorAll('main').length === 1".to_owned(),
        all("table", "one.caption && one.caption.textContent.length > 3"),
        all("th", "one.hasAttribute('scope')"),
        all("section", "one.hasAttribute('aria-label') || document.getElementById(one.getAttribute('aria-labelledby'))"),
        all("svg", "one.getAttribute('role') === 'img' && one.getAttribute('aria-label')"),
        "document.getElementById('said').getAttribute('aria-live') === 'polite'".to_owned(),
        // Nothing comes from elsewhere.
        "performance.getEntriesByType('resource').every((one) => new URL(one.name).origin === location.origin)".to_owned(),
        // A table that is wider than a phone scrolls by itself, by keyboard, too; the page does not.
        all(".scroll", "one.tabIndex === 0"),
    ] {
        assert_eq!(page.value(&rule).await, true, "{rule}");
    }
    // Figures that have not changed leave the document alone, so that a reader keeps its place.
    page.value("globalThis.row = document.querySelector('#health li')").await;
    page.value("globalThis.ticks = 0; new EventSource('events').onmessage = () => ticks += 1").await;
    page.until("globalThis.ticks >= 3").await;
    assert_eq!(page.value("row === document.querySelector('#health li')").await, true);
}
