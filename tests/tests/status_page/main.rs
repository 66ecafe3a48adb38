//! The status page in a real browser.

mod browser;

use browser::Page;
use tests::client::{get, get_once};
use tests::load::Style;
use tests::{App, Client, Launch, Load, Scratch, Signal, Target};

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
    let load = Load::on(&app.target("web").await).clients(4, Style::Get);
    page.until("Number(document.getElementById('rate').textContent.replaceAll('\\u202f', '')) > 10").await;
    page.until("document.querySelector('#servers th').textContent === 'web'").await;
    page.until("document.querySelectorAll('#health li').length === 3").await;
    page.picture("light").await;

    // Three clients whose answers take a while hold the predecessor up: both are shown, with the counts of each.
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(&app.target("web").await).await.unwrap();
        client.send(get("/wait?60000")).await.unwrap();
        slow.push(client);
    }
    let held = "document.querySelector('.generation .figure').textContent.startsWith('7')";
    page.until(held).await;
    let older = app.pid();
    app.restart().await;
    page.until("document.querySelectorAll('.generation').length === 2").await;
    page.until("document.querySelector('.generation.older .figure').textContent === '3 of 7 left'").await;
    page.until("document.querySelector('.flow b').textContent === '4'").await;
    for told in [&*format!("Generation 1 drains · pid {older}"), "3 busy · 0 idle · the rest is cut in "] {
        page.until(&format!("document.querySelector('.generation.older').textContent.includes('{told}')"))
            .await;
    }
    page.until("!document.getElementById('older-head').hidden").await;
    page.picture("both").await;
    drop(slow);
    page.until("document.querySelectorAll('.generation').length === 1").await;

    // The same page, without a reload, shows the successor.
    let successor = app.restart().await;
    let shown = format!("generation 3 · pid {}", successor.pid());
    page.until(&format!("document.getElementById('about').textContent.includes('{shown}')")).await;
    page.until("document.getElementById('state').textContent === 'Ready'").await;
    page.until("document.querySelectorAll('#receipts th').length === 2").await;
    page.until("document.getElementById('said').textContent.includes('Ready')").await;
    load.stop().await.assert_unnoticed();
    assert_eq!(page.complaints, Vec::<String>::new());

    assert!(app.stop().await.is_clean());
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

/// The pictures of the guide: `GRACEHTTP_SCREENSHOTS=FOLDER` has them taken, of a service under load and in a restart.
#[tokio::test]
async fn pictures_for_the_guide() {
    if std::env::var_os("GRACEHTTP_SCREENSHOTS").is_none() {
        return;
    }
    let scratch = Scratch::new();
    let plan = "server api 127.0.0.1:0 tls=self_signed\nserver web 127.0.0.1:0";
    let launch = Launch::app(&scratch, plan).env("GRACEHTTP_ADMIN", "127.0.0.1:0");
    let app = launch
        .env("GRACEHTTP_DRAIN_TIMEOUT", "30s")
        .env("GRACEHTTP_SERVER__API__MAX_CONNS", "1000")
        .env("GRACEHTTP_SERVER__WEB__MAX_CONNS", "200")
        .spawn();
    let (api, web, url) = (app.target("api").await, app.target("web").await, url_of(&app).await);
    let load = Load::on(&web).clients(12, Style::Get).clients(2, Style::Large);
    let secure = Load::on(&api).clients(8, Style::Get).clients(4, Style::Post);
    let mut idle = Vec::new();
    for _ in 0..240 {
        let mut client = Client::connect(&api).await.unwrap();
        client.get("/ping").await.unwrap();
        idle.push(client);
    }
    app.restart().await;
    app.predecessors_leave_cleanly().await;
    let Some(mut light) = Page::open(&url, "light").await else { return };
    let mut dark = Page::open(&url, "dark").await.expect("another page");
    for page in [&mut light, &mut dark] {
        page.until("rates.length > 40 && document.getElementById('p99').textContent !== '–'").await;
    }
    light.picture("status-page-light").await;
    let mut slow = Vec::new();
    for number in 0..37 {
        let mut client = Client::connect(if number % 3 == 0 { &api } else { &web }).await.unwrap();
        client.send(get("/slow?ms=60000")).await.unwrap();
        slow.push(client);
    }
    dark.until("document.querySelector('#servers td.number').textContent > 20").await;
    app.restart().await;
    dark.until("document.querySelector('.generation.older .figure')?.textContent.startsWith('37 of')").await;
    dark.until("document.querySelector('.flow b').textContent > 200").await;
    dark.picture("status-page-dark").await;
    drop((slow, idle));
    for load in [load, secure] {
        load.stop().await.assert_unnoticed();
    }
}

/// rustdoc has the pictures as text, and a clone as files.
#[test]
fn the_guides_pictures_are_the_same_in_both_forms() {
    let guide = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../gracehttp/docs/guide");
    for name in ["status-page-light.webp", "status-page-dark.webp"] {
        let picture = std::fs::read(guide.join(name)).unwrap();
        let text = std::fs::read_to_string(guide.join(format!("{name}.base64"))).unwrap();
        assert!(text == base64(&picture), "{name}: base64 -w0 {name} > {name}.base64");
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks(3).flat_map(|group| {
        let bits =
            (0..3).fold(0, |bits, place| bits << 8 | u32::from(group.get(place).copied().unwrap_or(0)));
        let digit = move |place: usize| DIGITS[(bits >> (18 - 6 * place)) as usize & 63] as char;
        (0..4).map(move |place| if place <= group.len() { digit(place) } else { '=' })
    });
    groups.collect()
}

/// A page of a stranger, in the browser of an operator.
#[tokio::test]
async fn a_strangers_page_reads_nothing() {
    let scratch = Scratch::new();
    let app = operated(&scratch).start("web").await;
    let url = url_of(&app).await;
    // Its name leads to this machine (DNS rebinding): the browser takes the address for the page's own.
    let rebound = url.replace("127.0.0.1", "evil.example");
    let Some(mut page) = Page::open(&rebound, "light").await else { return };
    page.until("document.body.innerText.includes('the request names another host')").await;
    for path in ["status.json", "metrics", "events", "readyz?verbose"] {
        let seen = page.value(&format!("fetch('/{path}').then((answer) => answer.status)")).await;
        assert_eq!(seen, 421, "{path}");
    }
    // From an origin of its own it may ask, and reads nothing.
    let web = app.url("web").await;
    page.go(&format!("{web}/")).await;
    page.until("document.body.innerText.includes('pong')").await;
    for path in ["", "status.json", "metrics", "readyz?verbose"] {
        let read = format!("fetch('{url}{path}').then((answer) => answer.text()).catch(() => 'refused')");
        assert_eq!(page.value(&read).await, "refused", "{path}");
        // Not even as an opaque answer or as a script.
        let opaque =
            format!("fetch('{url}{path}', {{ mode: 'no-cors' }}).then(() => 'had').catch(() => 'refused')");
        assert_eq!(page.value(&opaque).await, "refused", "{path}");
    }
    assert_eq!(get_once(&app.target("web").await, "/").await.unwrap().status, 200);
}

#[tokio::test]
async fn names_and_paths_are_never_markup() {
    let scratch = Scratch::new();
    let plan = "server <b>web</b><script>document.title='owned'</script> 127.0.0.1:0";
    let launch = Launch::app(&scratch, plan).env("GRACEHTTP_ADMIN", "127.0.0.1:0");
    let app = launch.env("GRACEHTTP_DRAIN_TIMEOUT", "700ms").env("GRACEHTTP_STANDBY", "300ms").spawn();
    let url = url_of(&app).await;
    let Some(mut page) = Page::open(&url, "light").await else { return };
    page.until("document.querySelector('#servers th').textContent.includes('<script>')").await;
    let line = app.log.line(0, "serving <b>web</b>").await;
    let web = line.split(" on ").nth(1).and_then(|url| url.split_whitespace().next()).expect("a URL");
    let mut client = Client::connect(&Target::from_url(web.trim_end_matches(','))).await.unwrap();
    client.send("GET /never?<script>alert(1)</script> HTTP/1.1\r\nHost: <script>\r\n\r\n").await.unwrap();
    let mut slow = Client::connect(&Target::from_url(web.trim_end_matches(','))).await.unwrap();
    slow.send(get("/never")).await.unwrap();
    app.log.line(0, "never begins").await;
    app.restart().await;
    // The server's name comes to the receipt of a cut connection, and into the log.
    page.until("document.querySelector('#receipts details li')?.textContent.includes('at server <b>web</b>') || document.querySelector('#receipts details li')?.textContent.includes('at <b>web</b>')").await;
    assert_eq!(
        page.value(
            "document.querySelectorAll('main img, main script, main b b, #servers b, #receipts b').length"
        )
        .await,
        0
    );
    assert_ne!(page.value("document.title").await, "owned");
    assert_eq!(page.complaints, Vec::<String>::new());
}

/// WCAG 2: text and what is behind it differ by 4.5 at least, large text by 3.
const CONTRAST: &str = r#"(() => {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const over = (colors) => {
        canvas.clearRect(0, 0, 1, 1);
        for (const color of colors) { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); }
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = (rgb) => {
        const [r, g, b] = rgb.map((part) => part / 255).map((part) => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const poor = [];
    const walker = document.createTreeWalker(document.querySelector('.page'), NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const parent = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !parent.checkVisibility() || parent.closest('.skip, noscript, script')) continue;
        const behind = [];
        for (let one = parent; one; one = one.parentElement) behind.unshift(getComputedStyle(one).backgroundColor);
        const style = getComputedStyle(parent), ground = over(behind), ink = over([...behind, style.color]);
        const [more, less] = [light(ground), light(ink)].sort((a, b) => b - a);
        const contrast = (more + .05) / (less + .05), needed = parseFloat(style.fontSize) >= 24 ? 3 : 4.5;
        if (contrast < needed) poor.push(`${walker.currentNode.data.trim()}: ${contrast.toFixed(2)}`);
    }
    return [...new Set(poor)];
})()"#;

#[tokio::test]
async fn it_can_be_read_in_both_schemes_and_stands_still_for_those_who_ask() {
    let scratch = Scratch::new();
    let app = operated(&scratch).env("GRACEHTTP_DRAIN_TIMEOUT", "200s").start("web").await;
    let url = url_of(&app).await;
    scratch.write("check", "fail no route");
    app.signal(Signal::HUP);
    app.log.line(0, "serves on").await;
    scratch.write("check", "");
    let mut slow = Client::connect(&app.target("web").await).await.unwrap();
    slow.send(get("/wait?200000")).await.unwrap();
    app.restart().await;
    for scheme in ["light", "dark"] {
        let Some(mut page) = Page::open(&url, scheme).await else { return };
        page.until("document.querySelectorAll('.generation').length === 2").await;
        page.until("document.querySelectorAll('#receipts th').length >= 1").await;
        assert_eq!(page.value(CONTRAST).await, serde_json::json!([]), "{scheme}");
        page.still().await;
        page.value("document.querySelector('.flow').classList.add('moves')").await;
        assert_eq!(page.value("document.getAnimations().length").await, 0);
    }
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
