//! Several platforms in one process, each with its own data, keys and limits; rules that are taken up while serving; ids and logs.

mod served;

use std::time::{Duration, Instant};

use served::{Api, command, done, platform, serin};

const OTHER: &str = "another secret of thirty-two bytes";

#[test]
fn platforms_share_a_process_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    platform(home);
    std::fs::write(home.join("small.csv"), "ITEM_ID,CHANNEL\na0,a\na1,a\na2,a\n").expect("written");
    std::fs::write(home.join("other.secret"), format!("{OTHER}\n")).expect("written");
    let text = "[platforms.sixplay]\nitems = 'items.csv'\nstore = 'embedded:store'\nsecret_env = 'SERIN_JWT_SECRET'\n\
                [platforms.videoland]\nitems = 'small.csv'\nmodel = 'model'\nsecret_file = 'other.secret'\ncampaign_tps = 1.0\n";
    std::fs::write(home.join("serin.toml"), text).expect("written");
    let mut api = Api::start(home, &[]);
    let token = |platform: &str, secret: &str| {
        let output = command(home, &["token", "--platform", platform]).env("SERIN_JWT_SECRET", secret).output();
        String::from_utf8(output.expect("runs").stdout).expect("text").trim().to_owned()
    };
    let (six, land) = (token("sixplay", served::SECRET), token("videoland", OTHER));
    let mut status = |token: &str, path: &str| {
        token.clone_into(&mut api.token);
        api.ask("GET", path, "").0
    };
    for (token, path, expected) in [
        (&six, "/sixplay/v1/recommendations/u0", 200),
        (&land, "/videoland/v1/recommendations/u0", 200),
        (&six, "/videoland/v1/recommendations/u0", 401),
        (&land, "/sixplay/v1/recommendations/u0", 401),
        (&token("videoland", served::SECRET), "/sixplay/v1/popular", 401),
        (&token("sixplay", OTHER), "/videoland/v1/popular", 401),
        (&six, "/v1/recommendations/u0", 404),
        (&six, "/sixplay/../videoland/v1/popular", 404),
        (&six, "/sixplay", 404),
        (&six, "/health/ready", 200),
        (&six, "/sixplay/health/ready", 200),
        (&six, "/videoland/metrics", 200),
    ] {
        assert_eq!(status(token, path), expected, "{path}");
    }
    api.token.clone_from(&land);
    let popular = api.get("/videoland/v1/popular?limit=500");
    assert_eq!(popular["items"].as_array().map(Vec::len), Some(3), "its own catalogue: {popular}");
    // A campaign's wall stands before one platform only.
    let body = r#"{"campaignArn":"arn:c","userId":"u0"}"#;
    let mut throttled = |token: &str, path: &str| {
        token.clone_into(&mut api.token);
        (0..6).filter(|_| api.ask("POST", path, body).0 == 429).count()
    };
    assert_eq!(throttled(&six, "/sixplay/recommendations"), 0);
    assert!(throttled(&land, "/videoland/recommendations") > 0);
    let page = api.ask("GET", "/sixplay/metrics", "").1;
    assert!(page.contains("serin_requests_total{route=\"/recommendations\",status=\"200\"} 6"), "{page}");
    // Forgotten here is not forgotten there.
    api.token.clone_from(&six);
    assert_eq!(api.ask("POST", "/sixplay/v1/forget/u0", "").0, 202);
    assert_eq!(api.get("/sixplay/v1/recommendations/u0")["source"], "popular");
    api.token.clone_from(&land);
    assert_eq!(api.get("/videoland/v1/recommendations/u0")["source"], "live");

    // Without a secret in the environment a token is signed with the platform's own.
    let minted =
        command(home, &["token", "--platform", "videoland"]).env_remove("SERIN_JWT_SECRET").output().expect("runs");
    api.token = String::from_utf8(minted.stdout).expect("text").trim().to_owned();
    assert_eq!(api.ask("GET", "/videoland/v1/popular", "").0, 200);

    // One of them alone, at the root.
    drop(api);
    let mut one = Api::start(home, &["--platform", "videoland"]);
    one.token = land;
    assert_eq!(one.get("/v1/popular?limit=500")["items"].as_array().map(Vec::len), Some(3));
    let unknown = serin(home, &["serve", "--platform", "videolan", "--listen", "127.0.0.1:0"]);
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(unknown.status.code() == Some(2) && said.contains("did you mean videoland?"), "{said}");
}

#[test]
fn rules_are_taken_up_while_serving_and_a_wrong_file_changes_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    platform(home);
    let rules = |text: &str| {
        std::fs::write(home.join("rules.new"), text).expect("written");
        std::fs::rename(home.join("rules.new"), home.join("rules.toml")).expect("in place");
    };
    let promotion =
        "[[promotion]]\nname = 'b week'\nfilter = 'INCLUDE ItemID WHERE Items.CHANNEL IN (\"b\")'\nslots = [1]\n";
    rules(promotion);
    let api = Api::start(home, &["--store", "embedded:store", "--items", "items.csv", "--rules", "rules.toml"]);
    let ask = || api.get("/v1/recommendations/u0?limit=3");
    let first = ask();
    assert_eq!(first["items"][0]["reason"], "promotion: b week", "{first}");
    assert!(first["items"][0]["itemId"].as_str().is_some_and(|i| i.starts_with('b')), "{first}");
    assert_eq!(first["items"][1]["reason"], "list", "{first}");
    assert_eq!(api.get("/v1/recommendations/nobody?limit=3")["items"][1]["reason"], "popular");
    let becomes = |what: &str, wished: &dyn Fn(&serde_json::Value) -> bool| {
        let began = Instant::now();
        while !wished(&ask()) {
            assert!(began.elapsed() < Duration::from_secs(20), "{what}: {}", ask());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    rules("[[cap]]\ncolumn = 'CHANNEL'\nmost = 1\n");
    becomes("a cap", &|a| a["items"].as_array().is_some_and(|i| i.len() == 2));
    rules("[[cap]]\ncolumn = 'CHANEL'\nmost = 3\n");
    let failures = || api.ask("GET", "/metrics", "").1.contains("\nserin_refresh_failures_total 0\n");
    let began = Instant::now();
    while failures() && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!failures() && ask()["items"].as_array().is_some_and(|i| i.len() == 2), "the rules before stay in force");
    rules("[exploration]\nshare = '50%'\n");
    becomes("exploration", &|a| a["items"][0]["propensity"].is_number());
    let noted = || {
        let live = std::fs::read_dir(home.join("home/live")).expect("a folder").flatten();
        let file = live.map(|e| e.path()).find(|p| p.to_string_lossy().contains("exposures-"));
        file.map(|f| std::fs::read_to_string(f).expect("text")).unwrap_or_default()
    };
    let began = Instant::now();
    while noted().lines().count() < 1 && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let line: serde_json::Value = serde_json::from_str(noted().lines().next().expect("a line")).expect("JSON");
    assert_eq!(line["answer"]["user"], "u0", "{line}");
    assert!(line["answer"]["items"][0]["propensity"].is_number(), "{line}");
    // Who withdrew is not explored with.
    assert_eq!(api.ask("POST", "/v1/forget/u0", "").0, 202);
    assert!(ask()["items"][0]["propensity"].is_null(), "{}", ask());
    let bad = serin(
        home,
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--store",
            "embedded:store",
            "--items",
            "items.csv",
            "--rules",
            "absent.toml",
        ],
    );
    assert_eq!(bad.status.code(), Some(2));
}

#[test]
fn each_answer_has_an_id_that_the_log_knows_and_the_log_knows_no_secret() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    platform(home);
    // A collector that takes whatever comes.
    let collector = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}", collector.local_addr().expect("an address"));
    let (told, spans) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for mut stream in collector.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
            let (mut all, mut part) = (Vec::new(), vec![0; 65536]);
            while let Ok(read @ 1..) = stream.read(&mut part) {
                all.extend_from_slice(&part[..read]);
                if all.ends_with(b"}]}") {
                    break;
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
            let _ = told.send(String::from_utf8_lossy(&all).into_owned());
        }
    });
    let flags = ["--store", "embedded:store", "--items", "items.csv", "--access-log", "access.jsonl", "--otlp", &url];
    let api = Api::start(home, &flags);
    let token = api.token.clone();
    let trace = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    let more = format!("authorization: Bearer {token}\r\nx-request-id: mine-1\r\n{trace}");
    let (status, head, _) = api.send("GET", "/v1/recommendations/u0?limit=2", &more, "");
    assert!(status == 200 && head.contains("x-request-id: mine-1"), "{head}");
    let (status, head, _) = api.send("GET", "/v1/recommendations/u0", "authorization: Bearer a.b.c\r\n", "");
    let id = head.lines().find_map(|l| l.strip_prefix("x-request-id: ")).expect("an id");
    assert!(status == 401 && id.len() == 16, "{head}");
    let log = || std::fs::read_to_string(home.join("access.jsonl")).expect("a log");
    let began = Instant::now();
    while log().lines().count() < 2 && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let lines: Vec<serde_json::Value> = log().lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!((&lines[0]["id"], &lines[0]["status"]), (&"mine-1".into(), &200.into()), "{lines:?}");
    assert_eq!((&lines[1]["id"], &lines[1]["status"]), (&id.into(), &401.into()), "{lines:?}");
    assert_eq!(lines[0]["route"], "/v1/recommendations");
    for secret in [token.as_str(), "a.b.c", "u0", "limit", served::SECRET] {
        assert!(!log().contains(secret), "{secret} is in the log");
    }
    let sent = spans.recv_timeout(Duration::from_secs(20)).expect("a span");
    assert!(sent.starts_with("POST /v1/traces") && sent.contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{sent}");
    assert!(!sent.contains(&token) && !sent.contains("u0?"), "{sent}");
    done(home, &["help", "rules"]);
}
