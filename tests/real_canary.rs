//! Canaries on real proxies: HAProxy by weights and by map, Envoy by its runtime, a load balancer's rule as moto has it.
#![cfg(feature = "real-servers")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serin::canary::drive::{Drive, Told};
use serin::canary::driver::Driver;
use serin::canary::drivers;
use serin::canary::plan::Plan;
use serin::canary::record::Record;
use serin::canary::source::{Source, Taken};
use serin::canary::told::Outcome;
use serin::judge::interval::Interval;
use serin::judge::verdict::Verdict;
use serin::serve::aws::{Aws, ELB, Service};
use serin::stop::Stop;

/// The server from the environment that `tests/run` makes.
fn binary(variable: &str) -> String {
    let found = std::env::var(variable).ok().filter(|v| !v.is_empty());
    found.unwrap_or_else(|| panic!("{variable} is not set: run tests/run, which brings the server"))
}

fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port()
}

/// A version: says its name to everybody.
fn version(name: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream, name));
        }
    });
    port
}

fn answer(mut stream: TcpStream, name: &str) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    loop {
        while !lines.next()?.ok()?.is_empty() {}
        stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{name}").as_bytes()).ok()?;
    }
}

/// Asks as a viewer; says whether the canary answered.
fn ask(port: u16, viewer: usize) -> Option<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx-viewer: v{viewer}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1.1 200").then(|| text.ends_with("new"))
}

const VIEWERS: usize = 400;

fn in_canary(port: u16) -> BTreeSet<usize> {
    (0..VIEWERS).filter(|v| ask(port, *v).expect("answered")).collect()
}

/// A proxy with its configuration, which can be started again.
struct Proxy {
    words: Vec<String>,
    child: Child,
    port: u16,
}

impl Proxy {
    fn start(words: Vec<String>, port: u16) -> Self {
        let child = run(&words);
        let proxy = Self { words, child, port };
        proxy.ready();
        proxy
    }

    fn ready(&self) {
        let began = Instant::now();
        while ask(self.port, 0).is_none() {
            assert!(began.elapsed() < Duration::from_secs(60), "{:?} does not answer", self.words);
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn start_again(&mut self) {
        self.end();
        self.child = run(&self.words);
        self.ready();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(words: &[String]) -> Child {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("starts")
}

fn haproxy(dir: &Path, map: bool) -> (Proxy, String) {
    let (port, old, new) = (port(), version("old"), version("new"));
    let place = dir.display();
    fs::write(dir.join("canary.map"), "percent 0\n").expect("written");
    let split = if map {
        format!(
            "  http-request set-var(txn.percent) str(percent),map_str_int({place}/canary.map,0)\n\
             \x20 http-request set-var(txn.bucket) req.hdr(x-viewer),sdbm(1),mod(100)\n\
             \x20 use_backend fresh if {{ var(txn.bucket),sub(txn.percent) lt 0 }}\n\
             \x20 default_backend recs\n\
             backend recs\n  server old 127.0.0.1:{old}\n\
             backend fresh\n  server new 127.0.0.1:{new}\n"
        )
    } else {
        format!(
            "  default_backend recs\n\
             backend recs\n  balance hdr(x-viewer)\n  hash-type consistent sdbm avalanche\n\
             \x20 server old 127.0.0.1:{old} weight 200\n  server new 127.0.0.1:{new} weight 0\n"
        )
    };
    let config = format!(
        "global\n  stats socket {place}/h.sock mode 600 level admin\n\
         defaults\n  mode http\n  timeout connect 2s\n  timeout client 10s\n  timeout server 10s\n\
         frontend in\n  bind 127.0.0.1:{port}\n{split}"
    );
    let file = dir.join("haproxy.cfg");
    fs::write(&file, config).expect("written");
    let words = [binary("SERIN_HAPROXY"), "-db".to_owned(), "-f".to_owned(), file.display().to_string()];
    let table = if map {
        format!(
            "[haproxy]\nsocket='{place}/h.sock'\nbackend='recs'\nbaseline='old'\ncanary='fresh/new'\nmap='{place}/canary.map'\n"
        )
    } else {
        format!("[haproxy]\nsocket='{place}/h.sock'\nbackend='recs'\nbaseline='old'\ncanary='new'\n")
    };
    (Proxy::start(words.into(), port), plan("haproxy", &table))
}

fn envoy(dir: &Path) -> (Proxy, String) {
    let (port, admin, old, new) = (port(), port(), version("old"), version("new"));
    let cluster = |name: &str, port: u16| {
        format!(
            "  - name: {name}\n    connect_timeout: 1s\n    load_assignment:\n      cluster_name: {name}\n      endpoints:\n\
             \x20     - lb_endpoints:\n        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}\n"
        )
    };
    let types = "type.googleapis.com/envoy.extensions.filters";
    let config = format!(
        "admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}\n\
         layered_runtime: {{layers: [{{name: admin, admin_layer: {{}}}}]}}\n\
         static_resources:\n  listeners:\n  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}\n\
         \x20   filter_chains:\n    - filters:\n      - name: envoy.filters.network.http_connection_manager\n\
         \x20       typed_config:\n\
         \x20         \"@type\": {types}.network.http_connection_manager.v3.HttpConnectionManager\n\
         \x20         stat_prefix: in\n\
         \x20         route_config:\n            virtual_hosts:\n            - name: all\n              domains: [\"*\"]\n\
         \x20             routes:\n              - match: {{prefix: \"/\"}}\n                route:\n\
         \x20                 hash_policy: [{{header: {{header_name: x-viewer}}}}]\n\
         \x20                 weighted_clusters:\n                    runtime_key_prefix: split\n                    use_hash_policy: true\n\
         \x20                   clusters: [{{name: new, weight: 0}}, {{name: old, weight: 100}}]\n\
         \x20         http_filters:\n          - name: envoy.filters.http.router\n            typed_config: {{\"@type\": {types}.http.router.v3.Router}}\n\
         \x20 clusters:\n{}{}",
        cluster("new", new),
        cluster("old", old)
    );
    let file = dir.join("envoy.yaml");
    fs::write(&file, config).expect("written");
    let file = file.display().to_string();
    let words = [&binary("SERIN_ENVOY"), "-c", &file, "--use-dynamic-base-id", "--concurrency", "1"].map(str::to_owned);
    let table = format!("[envoy]\nadmin='127.0.0.1:{admin}'\nprefix='split'\nbaseline='old'\ncanary='new'\n");
    (Proxy::start(words.into(), port), plan("envoy", &table))
}

fn plan(driver: &str, table: &str) -> String {
    format!(
        "[canary]\ntarget='t'\ndriver='{driver}'\nlook='200ms'\n[[stage]]\nshare='10%'\nhold='10m'\n\
         [[stage]]\nshare='30%'\nhold='10m'\n[[guard]]\nmetric='errors'\n{table}[numbers]\nfrom='command'\nprint=['true']\n"
    )
}

fn opened(text: &str) -> (Plan, Box<dyn Driver>) {
    let plan = Plan::parse("p", text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let driver = drivers::open(&plan, Path::new(".")).expect("opens");
    (plan, driver)
}

/// As its share rises nobody leaves the canary, and at zero nobody is in it.
fn splits(proxy: &Proxy, text: &str) {
    let (_, mut driver) = opened(text);
    assert_eq!(driver.read(), Ok(0.0));
    assert!(in_canary(proxy.port).is_empty());
    let mut before = BTreeSet::new();
    for share in [0.1, 0.2, 0.5, 1.0] {
        driver.set(share).expect("set");
        assert_eq!(driver.read(), Ok(share));
        let now = settled(proxy, share);
        let seen = now.len() as f64 / VIEWERS as f64;
        assert!((seen - share).abs() < 0.12, "{seen} of the viewers at {share}");
        assert!(before.is_subset(&now), "somebody left at {share}: {:?}", before.difference(&now));
        before = now;
    }
    driver.set(0.0).expect("set");
    assert!(settled(proxy, 0.0).is_empty());
    let counted = driver.requests().expect("told").expect("counts");
    assert!(counted.canary > 100.0 && counted.all > counted.canary, "{counted:?}");
}

/// A worker may take a moment to hear of a share.
fn settled(proxy: &Proxy, share: f64) -> BTreeSet<usize> {
    let began = Instant::now();
    loop {
        let now = in_canary(proxy.port);
        let seen = now.len() as f64 / VIEWERS as f64;
        if (seen - share).abs() < 0.12 && (share > 0.0 || now.is_empty()) || began.elapsed() > Duration::from_secs(10) {
            return now;
        }
    }
}

/// Says what a switch tells it to: a healthy canary, or one that fails.
struct Meter(Arc<AtomicBool>);

impl Source for Meter {
    fn name(&self) -> String {
        "a switch".to_owned()
    }

    fn take(&mut self) -> Result<Taken, String> {
        let errors = if self.0.load(Ordering::Relaxed) { 400 } else { 4 };
        let slices = [r#"{"requests":2000,"errors":2}"#; 9].join(",");
        let line = format!(
            r#"{{"t":0,"baseline":{{"requests":18000,"errors":18}},"canary":{{"requests":4000,"errors":{errors}}},"slices":[{slices}]}}"#
        );
        Ok(Taken { interval: Interval::parse(&line)?, viewers: None })
    }
}

/// The proxy is started again in the middle of a walk and stands right again; then a bad canary goes back to a measured zero.
fn walks(mut proxy: Proxy, text: &str, name: &str) {
    let bad = Arc::new(AtomicBool::new(false));
    let port = proxy.port;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Viewers ask all the while.
        scope.spawn(|| {
            for viewer in (0..VIEWERS).cycle() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let _ = ask(port, viewer);
            }
        });
        let walking = scope.spawn(|| {
            let (plan, driver) = opened(text);
            walk(&plan, driver, Arc::clone(&bad))
        });
        let (_, mut reader) = opened(text);
        let mut stands = |share: f64| {
            let began = Instant::now();
            while reader.read() != Ok(share) {
                assert!(began.elapsed() < Duration::from_secs(60), "{name} does not come to {share}");
                thread::sleep(Duration::from_millis(10));
            }
            began.elapsed().as_secs_f64()
        };
        stands(0.1);
        thread::sleep(Duration::from_millis(500));
        proxy.start_again();
        let again = stands(0.1);
        assert!(!in_canary(port).is_empty());
        bad.store(true, Ordering::Relaxed);
        let outcome = walking.join().expect("walked");
        over.store(true, Ordering::Relaxed);
        assert_eq!((outcome.ending.verdict, outcome.share), (Verdict::No, Some(0.0)), "{outcome:?}");
        let back = outcome.way_back.expect("rolled back");
        assert!(back.verified && back.requests_at_zero == Some(0), "{back:?}");
        println!("{name}: weights right again {again:.2} s after a restart; zero measured after {:.2} s", back.took_s);
        // The figures are 5 s and 2 s; a machine that runs other tests beside this one may take a little longer.
        assert!(again < 15.0 && back.took_s < 10.0, "{again} {back:?}");
    });
}

fn walk(plan: &Plan, driver: Box<dyn Driver>, bad: Arc<AtomicBool>) -> Outcome {
    let drive = Drive {
        plan,
        driver,
        source: Box::new(Meter(bad)),
        write: Box::new(|_: &Record| Ok(())),
        wishes: Box::new(Vec::new),
        heard: 0,
        past: None,
        name: "test".to_owned(),
        stop: Stop::default(),
        tell: &mut |_: Told| {},
    };
    drive.run().expect("walks")
}

#[test]
fn haproxy_is_weighed() {
    let dir = tempfile::tempdir().expect("a folder");
    let (proxy, text) = haproxy(dir.path(), false);
    splits(&proxy, &text);
    walks(proxy, &text, "HAProxy by weights");
}

#[test]
fn haproxy_cuts_viewers_by_its_map() {
    let dir = tempfile::tempdir().expect("a folder");
    let (proxy, text) = haproxy(dir.path(), true);
    splits(&proxy, &text);
    walks(proxy, &text, "HAProxy by map");
}

#[test]
fn envoy_is_weighed_by_its_runtime() {
    let dir = tempfile::tempdir().expect("a folder");
    let (proxy, text) = envoy(dir.path());
    splits(&proxy, &text);
    walks(proxy, &text, "Envoy");
}

const EC2: Service = Service { host: "ec2", name: "ec2", target: "", json: "" };
const ELB_VERSION: &str = "2015-12-01";

fn every(xml: &str, tag: &str) -> Vec<String> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    xml.split(&open).skip(1).filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned())).collect()
}

#[test]
fn a_load_balancer_s_rule_is_weighed_and_its_stickiness_ends_at_zero() {
    let port = port();
    let words = [&binary("SERIN_MOTO"), "-H", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned);
    let mut moto = run(&words);
    let endpoint = format!("http://127.0.0.1:{port}");
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "moto does not answer");
        thread::sleep(Duration::from_millis(50));
    }
    // SAFETY: this test is the only one of its process that reads or writes the environment after its start.
    unsafe {
        std::env::set_var("AWS_ACCESS_KEY_ID", "testing");
        std::env::set_var("AWS_SECRET_ACCESS_KEY", "testing");
    }
    let mut aws = Aws::open(Some("eu-west-3"), Some(&endpoint)).expect("opens");
    let pairs = |all: &[(&str, &str)]| all.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    let subnets = aws.query(&EC2, "DescribeSubnets", "2016-11-15", &[]).expect("subnets");
    let (subnets, vpcs) = (every(&subnets, "subnetId"), every(&subnets, "vpcId"));
    let mut elb = |action: &str, fields: &[(&str, &str)], tag: &str| {
        let told = aws.query(&ELB, action, ELB_VERSION, &pairs(fields)).unwrap_or_else(|e| panic!("{action}: {e}"));
        every(&told, tag).into_iter().next().unwrap_or_else(|| panic!("{action}: {told}"))
    };
    let two = [("Name", "recs"), ("Subnets.member.1", &subnets[0]), ("Subnets.member.2", &subnets[1])];
    let balancer = elb("CreateLoadBalancer", &two, "LoadBalancerArn");
    let mut group = |name: &str| {
        let fields = [("Name", name), ("Protocol", "HTTP"), ("Port", "80"), ("VpcId", &vpcs[0])];
        elb("CreateTargetGroup", &fields, "TargetGroupArn")
    };
    let (old, new) = (group("old"), group("new"));
    let default = "DefaultActions.member.1";
    let fields = [
        ("LoadBalancerArn", balancer.as_str()),
        ("Protocol", "HTTP"),
        ("Port", "80"),
        (&format!("{default}.Type"), "forward"),
        (&format!("{default}.TargetGroupArn"), &old),
    ];
    let listener = elb("CreateListener", &fields, "ListenerArn");
    let forward = "Actions.member.1.ForwardConfig";
    let fields = [
        ("ListenerArn", listener.as_str()),
        ("Priority", "10"),
        ("Conditions.member.1.Field", "path-pattern"),
        ("Conditions.member.1.Values.member.1", "/v1/*"),
        ("Actions.member.1.Type", "forward"),
        (&format!("{forward}.TargetGroups.member.1.TargetGroupArn"), &old),
        (&format!("{forward}.TargetGroups.member.1.Weight"), "200"),
        (&format!("{forward}.TargetGroups.member.2.TargetGroupArn"), &new),
        (&format!("{forward}.TargetGroups.member.2.Weight"), "0"),
        (&format!("{forward}.TargetGroupStickinessConfig.Enabled"), "true"),
        (&format!("{forward}.TargetGroupStickinessConfig.DurationSeconds"), "600"),
    ];
    let rule = elb("CreateRule", &fields, "RuleArn");
    let table =
        format!("[alb]\nrule='{rule}'\nbaseline='{old}'\ncanary='{new}'\nregion='eu-west-3'\nendpoint='{endpoint}'\n");
    let (_, mut driver) = opened(&plan("alb", &table));
    assert_eq!(driver.read(), Ok(0.0));
    let mut sticky = || {
        let told =
            aws.query(&ELB, "DescribeRules", ELB_VERSION, &pairs(&[("RuleArns.member.1", &rule)])).expect("told");
        every(&told, "Enabled").first().is_some_and(|e| e.trim() == "true")
    };
    for share in [0.1, 0.3, 1.0] {
        driver.set(share).expect("set");
        assert_eq!(driver.read(), Ok(share));
        assert!(sticky(), "viewers stay where they are at {share}");
    }
    driver.set(0.0).expect("set");
    assert_eq!(driver.read(), Ok(0.0));
    assert!(!sticky(), "nobody is held in the canary");
    let _ = moto.kill();
    let _ = moto.wait();
}
