//! Routes: who may ask what, and what each is answered with.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::answer::{self, Answer, Asking, Ranked};
use super::auth::{Gate, Remembered};
use super::catalogue::Catalogue;
use super::exposures::Exposures;
use super::limiter::Limiter;
use super::live::Room;
use super::meter::{Beside, Meter, Route, Source};
use super::personalize;
use super::posts;
use super::practice::Practice;
use super::problem::{Problem, Reply};
use super::recent::Recent;
use super::routes::{self, route};
use super::rules::Rules;
use super::store::similar_key;
use super::stores::remote::{Distant, Fetched, Lately, Why};
use super::trouble::{Suffered, repeats};
use super::wish::{self, Wish};
use super::world::{Lack, World};

/// Queries whose compiled form a worker keeps.
const WISHES: usize = 1024;
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Says in a health answer which process gave it.
pub const PROCESS: &str = "x-serin-process";
/// A worker this many milliseconds behind refuses new work instead of letting everybody wait.
const BEHIND_MS: u64 = 250;
/// So long after the last request on the campaign's wire its quota is still told as a limit.
const CAMPAIGN_IN_USE_S: f64 = 60.0;

/// What all workers share.
pub struct Api {
    pub gate: ArcSwap<Gate>,
    pub world: ArcSwap<World>,
    pub meter: Meter,
    /// What came in since the lists were made.
    pub recent: Recent,
    /// The campaign's requests a second, when it has a wall.
    pub quota: Option<Mutex<Limiter>>,
    /// The limit of the store's table, where it is practised.
    pub practice: Option<Practice>,
    /// Lists read elsewhere that a worker remembers.
    pub remembers: usize,
    /// Access keys of the Personalize wire.
    pub keys: personalize::Keys,
    /// Where answers are noted whose places were partly left to chance.
    pub exposures: Option<Exposures>,
    /// What is suffered for practice.
    pub trouble: ArcSwapOption<Suffered>,
    /// Seconds that this process's clock is ahead.
    pub clock_s: AtomicI64,
    pub draining: AtomicBool,
    pub began: Instant,
}

/// One thread's own: nothing on the hot path is locked.
pub struct Worker {
    pub api: Arc<Api>,
    memory: RefCell<Memory>,
    /// Milliseconds this worker's loop is behind; its own clock writes it.
    pub behind_ms: AtomicU64,
}

struct Memory {
    gate: Arc<Gate>,
    tokens: Remembered,
    catalogue: Arc<Catalogue>,
    wishes: HashMap<Box<str>, Rc<Wish>>,
    scratch: Vec<u8>,
    room: Room,
    /// Lists read elsewhere.
    lately: Lately,
}

/// An answer at once, or after the body has come.
pub enum Pending {
    Now(Option<Reply>),
    Later(Pin<Box<dyn Future<Output = Reply>>>),
}

impl Future for Pending {
    type Output = Result<Reply, std::convert::Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        match self.get_mut() {
            Self::Now(reply) => std::task::Poll::Ready(Ok(reply.take().expect("a future is polled once when ready"))),
            Self::Later(reply) => reply.as_mut().poll(context).map(Ok),
        }
    }
}

impl Api {
    /// Whether it takes new work, and has something to answer it with.
    pub fn ready(&self) -> bool {
        !self.is_draining() && self.world.load().has_answers
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// The process's clock, Unix seconds.
    pub fn now_s(&self) -> i64 {
        now_s() + self.clock_s.load(Relaxed)
    }

    /// Whether the campaign lets one more request through.
    pub fn within_quota(&self) -> bool {
        let Some(quota) = &self.quota else { return true };
        let now = self.began.elapsed().as_secs_f64();
        quota.lock().unwrap_or_else(PoisonError::into_inner).take(1.0, now)
    }

    /// The campaign's quota, requests a second. It stands before its own wire only: while nobody asks there, it limits nothing.
    fn campaign_quota(&self) -> Option<f64> {
        let quota = self.quota.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = quota.at();
        let is_asked = asked > 0.0 && self.began.elapsed().as_secs_f64() - asked < CAMPAIGN_IN_USE_S;
        is_asked.then(|| quota.capacity())
    }
}

impl Worker {
    pub fn new(api: Arc<Api>) -> Self {
        let memory = Memory {
            gate: api.gate.load_full(),
            tokens: Remembered::default(),
            catalogue: Arc::clone(&api.world.load().catalogue),
            wishes: HashMap::new(),
            scratch: Vec::new(),
            room: Room::default(),
            lately: Lately::new(api.remembers),
        };
        Self { api, memory: RefCell::new(memory), behind_ms: AtomicU64::new(0) }
    }

    pub fn handle(self: &Rc<Self>, request: Request<Incoming>) -> Pending {
        let began = Instant::now();
        let (route, _) = route(request.uri().path());
        if self.behind_ms.load(Relaxed) > BEHIND_MS && !matches!(route, Route::Health | Route::Metrics) {
            self.api.meter.shed.fetch_add(1, Relaxed);
            return self.now(route, began, Problem::overloaded().reply());
        }
        if repeats(request.headers()) {
            self.api.meter.repeats.fetch_add(1, Relaxed);
        }
        let Some(trouble) = self.api.trouble.load_full() else { return self.answer(request, began) };
        let worker = Rc::clone(self);
        Pending::Later(Box::pin(async move {
            match trouble.befall(route).await {
                Ok(()) => worker.answer(request, began).await.unwrap_or_else(|never| match never {}),
                Err(problem) => {
                    let reply = problem.reply();
                    worker.api.meter.answered(route, reply.status().as_u16(), began.elapsed());
                    reply
                }
            }
        }))
    }

    fn answer(self: &Rc<Self>, request: Request<Incoming>, began: Instant) -> Pending {
        let (route, rest) = route(request.uri().path());
        if matches!(route, Route::Campaign | Route::Ranking) {
            let worker = Rc::clone(self);
            return Pending::Later(Box::pin(async move {
                let reply = personalize::answer(&worker, route, request).await;
                worker.api.meter.answered(route, reply.status().as_u16(), began.elapsed());
                reply
            }));
        }
        let reply = match (routes::method(route), request.method()) {
            _ if route == Route::None => Problem::no_route(request.uri().path()).reply(),
            (Method::GET, &Method::GET | &Method::HEAD) => {
                let world = self.api.world.load();
                if world.distant().is_some() && matches!(route, Route::Recommendations | Route::Similar) {
                    let world = Arc::clone(&world);
                    return self.get_from_afar(world, route, rest.to_owned(), request, began);
                }
                self.get(&world, route, rest, &request, None).unwrap_or_else(|problem| problem.reply())
            }
            (Method::POST, &Method::POST) => {
                let (worker, rest) = (Rc::clone(self), rest.to_owned());
                return Pending::Later(Box::pin(async move {
                    let reply = worker.post(route, &rest, request).await.unwrap_or_else(|problem| problem.reply());
                    worker.api.meter.answered(route, reply.status().as_u16(), began.elapsed());
                    reply
                }));
            }
            _ if route == Route::Practice && self.api.practice.is_some() => {
                self.practise(&request).unwrap_or_else(|problem| problem.reply())
            }
            (Method::POST, _) => Problem::wrong_method("POST"),
            _ => Problem::wrong_method("GET"),
        };
        self.now(route, began, reply)
    }

    /// Answers from lists that must be read elsewhere first; the whole answer is of one world.
    fn get_from_afar(
        self: &Rc<Self>,
        world: Arc<World>,
        route: Route,
        rest: String,
        request: Request<Incoming>,
        began: Instant,
    ) -> Pending {
        let worker = Rc::clone(self);
        Pending::Later(Box::pin(async move {
            let reply = match worker.let_in(&request) {
                Err(problem) => problem.reply(),
                Ok(()) => {
                    let fetched = match (route, wish::read_id(&rest)) {
                        (_, Err(_)) => None,
                        (Route::Similar, Ok(item)) => worker.fetch(&world, &similar_key(&item)).await,
                        (_, Ok(viewer)) => worker.fetch_for(&world, &viewer).await,
                    };
                    let reply = worker.get(&world, route, &rest, &request, fetched.as_ref());
                    reply.unwrap_or_else(|problem| problem.reply())
                }
            };
            worker.api.meter.answered(route, reply.status().as_u16(), began.elapsed());
            reply
        }))
    }

    /// Reads a viewer's list where the lists lie elsewhere; nobody's whose list may not be used.
    pub async fn fetch_for(&self, world: &World, viewer: &str) -> Option<Fetched> {
        if world.distant().is_none() || self.asking(world, viewer, None).is_withheld() {
            return None;
        }
        self.fetch(world, viewer).await
    }

    /// Reads what lies under a key where the lists lie elsewhere.
    pub async fn fetch(&self, world: &World, key: &str) -> Option<Fetched> {
        let distant = world.distant()?;
        if let Some(list) = self.memory.borrow_mut().lately.get(distant.generation, key) {
            self.api.meter.cache_hits.fetch_add(1, Relaxed);
            return Some(Fetched::List(list));
        }
        let began = Instant::now();
        let fetched = distant.fetch(key).await;
        match &fetched {
            Fetched::Failed(Why::Throttled) => {
                self.api.meter.store_throttled.fetch_add(1, Relaxed);
            }
            Fetched::Failed(Why::LeftAlone) => {
                self.api.meter.store_left_alone.fetch_add(1, Relaxed);
            }
            other => self.api.meter.store_read(began.elapsed(), !matches!(other, Fetched::Failed(_))),
        }
        if let Fetched::List(list) = &fetched {
            self.memory.borrow_mut().lately.put(distant.generation, key, list);
        }
        Some(fetched)
    }

    async fn post(&self, route: Route, rest: &str, request: Request<Incoming>) -> Result<Reply, Problem> {
        self.let_in(&request)?;
        let viewer = if route == Route::Events { None } else { Some(wish::read_id(rest)?) };
        let body = personalize::read_body(request.into_body()).await?;
        match (route, viewer) {
            (Route::Rank, Some(viewer)) => {
                let world = self.api.world.load_full();
                let fetched = self.fetch_for(&world, &viewer).await;
                posts::rank(self, &world, &viewer, &body, fetched.as_ref())
            }
            (Route::Forget, Some(viewer)) => posts::forget(self, &viewer),
            _ => posts::events(self, &body),
        }
    }

    fn now(&self, route: Route, began: Instant, reply: Reply) -> Pending {
        self.api.meter.answered(route, reply.status().as_u16(), began.elapsed());
        Pending::Now(Some(reply))
    }

    fn get(
        &self,
        world: &World,
        route: Route,
        rest: &str,
        request: &Request<Incoming>,
        fetched: Option<&Fetched>,
    ) -> Result<Reply, Problem> {
        let query = request.uri().query().unwrap_or_default();
        match route {
            Route::Recommendations => {
                self.let_in(request)?;
                let now = self.api.began.elapsed().as_secs_f64();
                let passes = self.api.practice.as_ref().is_none_or(|p| p.read(request.headers(), now));
                let passes = passes && !self.suffers(Suffered::throttles);
                if passes {
                    self.recommendations(world, &wish::read_id(rest)?, query, fetched)
                } else {
                    self.throttled(world, rest, query)
                }
            }
            Route::Popular => {
                self.let_in(request)?;
                self.popular(world, query)
            }
            Route::Similar => {
                self.let_in(request)?;
                self.similar(world, &wish::read_id(rest)?, query, fetched)
            }
            Route::Openapi => {
                let document = routes::openapi(world.catalogue.columns());
                Ok(json(document.to_string().into_bytes()))
            }
            Route::Health => self.health(rest).ok_or_else(|| Problem::no_route(request.uri().path())),
            Route::Metrics => Ok(self.metrics()),
            Route::Practice if self.api.practice.is_some() => self.practise(request),
            _ => Err(Problem::no_route(request.uri().path())),
        }
    }

    /// Checks the bearer token of a request.
    pub fn let_in<B>(&self, request: &Request<B>) -> Result<(), Problem> {
        let mut memory = self.memory.borrow_mut();
        let gate = self.api.gate.load();
        if !Arc::ptr_eq(&gate, &memory.gate) {
            memory.gate = Arc::clone(&gate);
            memory.tokens.clear();
        }
        let header = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        memory.tokens.check(&gate, header, self.api.now_s()).map_err(|why| {
            self.api.meter.refused(why);
            why.into()
        })
    }

    fn suffers(&self, turn: impl Fn(&Suffered) -> bool) -> bool {
        self.api.trouble.load().as_ref().is_some_and(|t| turn(t))
    }

    fn recommendations(
        &self,
        world: &World,
        viewer: &str,
        query: &str,
        fetched: Option<&Fetched>,
    ) -> Result<Reply, Problem> {
        let mut body = Vec::with_capacity(2048);
        body.extend_from_slice(b"{\"user\":");
        answer::write_text(viewer, &mut body);
        body.extend_from_slice(b",\"items\":[");
        let mut memory = self.memory.borrow_mut();
        let mut wish = memory.wish(world, query)?;
        if self.suffers(Suffered::empties) {
            wish = Rc::new(Wish::nothing(&world.catalogue));
        }
        let Memory { scratch, room, .. } = &mut *memory;
        let answer = answer::recommend(&self.asking(world, viewer, fetched), &wish, scratch, room, &mut body);
        self.close(world, &answer, &mut body);
        let body = Bytes::from(body);
        if let Some(exposures) = self.api.exposures.as_ref().filter(|_| answer.source != Source::Popular)
            && world.rules.as_ref().is_some_and(Rules::explores)
        {
            exposures.note(self.api.now_s(), &body);
        }
        Ok(json(body))
    }

    /// What a viewer gets whose read of the store was throttled.
    fn throttled(&self, world: &World, rest: &str, query: &str) -> Result<Reply, Problem> {
        let wish = self.memory.borrow_mut().wish(world, query)?;
        self.api.meter.store_throttled.fetch_add(1, Relaxed);
        let mut body = b"{\"user\":".to_vec();
        answer::write_text(&wish::read_id(rest)?, &mut body);
        body.extend_from_slice(b",\"items\":[");
        let answer = answer::popular(world, &wish, &Room::default(), true, &mut body);
        Ok(self.finish(world, &answer, body))
    }

    /// Tells of the practised table; POST sets its capacity, DELETE ends it.
    fn practise(&self, request: &Request<Incoming>) -> Result<Reply, Problem> {
        self.let_in(request)?;
        let Some(practice) = &self.api.practice else { return Err(Problem::no_route(request.uri().path())) };
        let asked = request.uri().query().unwrap_or_default();
        let field = |name: &str| asked.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('='));
        let number =
            |name: &str| field(name).and_then(|t| t.parse::<f64>().ok()).filter(|v| v.is_finite() && *v >= 0.0);
        match *request.method() {
            Method::POST => {
                let wanted = || Problem::bad_request("no-capacity", "capacity must be a number from 0 on");
                let units = number("capacity").ok_or_else(wanted)?;
                let played = number("played_at");
                let now = played.unwrap_or_else(|| self.api.began.elapsed().as_secs_f64());
                practice.set(units, number("burst_s"), played.is_some(), now);
            }
            Method::DELETE => practice.end(),
            _ => {}
        }
        let table = serde_json::to_vec(&practice.table());
        table.map(json).map_err(|e| Problem::bad_request("no-table", e.to_string()))
    }

    fn similar(&self, world: &World, item: &str, query: &str, fetched: Option<&Fetched>) -> Result<Reply, Problem> {
        let index = world.catalogue.index(item).ok_or_else(|| {
            let detail = "the catalogue holds no such programme";
            Problem::new(StatusCode::NOT_FOUND, "no-such-item", detail)
        })?;
        let mut body = Vec::with_capacity(2048);
        body.extend_from_slice(b"{\"item\":");
        answer::write_text(item, &mut body);
        body.extend_from_slice(b",\"items\":[");
        let mut memory = self.memory.borrow_mut();
        let wish = memory.wish(world, query)?;
        let Memory { scratch, room, .. } = &mut *memory;
        let answer = answer::similar(&self.asking(world, "", fetched), index, &wish, scratch, room, &mut body);
        Ok(self.finish(world, &answer, body))
    }

    fn asking<'a>(&'a self, world: &'a World, viewer: &'a str, fetched: Option<&'a Fetched>) -> Asking<'a> {
        Asking { world, meter: &self.api.meter, recent: &self.api.recent, viewer, fetched }
    }

    fn popular(&self, world: &World, query: &str) -> Result<Reply, Problem> {
        let wish = self.memory.borrow_mut().wish(world, query)?;
        let mut body = Vec::with_capacity(2048);
        body.extend_from_slice(b"{\"items\":[");
        let answer = answer::popular(world, &wish, &Room::default(), world.awaits_lists(), &mut body);
        Ok(self.finish(world, &answer, body))
    }

    fn finish(&self, world: &World, answer: &Answer, mut body: Vec<u8>) -> Reply {
        self.close(world, answer, &mut body);
        json(body)
    }

    fn close(&self, world: &World, answer: &Answer, body: &mut Vec<u8>) {
        self.api.meter.recommended(answer.source, answer.items, answer.degraded);
        body.extend_from_slice(b"],\"source\":\"");
        body.extend_from_slice(answer.source.word().as_bytes());
        body.extend_from_slice(b"\",\"model\":");
        body.extend_from_slice(world.model.as_bytes());
        body.extend_from_slice(if answer.degraded { b",\"degraded\":true}" } else { b",\"degraded\":false}" });
    }

    /// Picks items for a viewer of the Personalize wire.
    pub fn pick(
        &self,
        world: &World,
        viewer: &str,
        wish: &Wish,
        fetched: Option<&Fetched>,
        out: &mut Vec<u8>,
    ) -> Answer {
        self.picked(&self.asking(world, viewer, fetched), |asking, scratch, room| {
            answer::recommend(asking, wish, scratch, room, out)
        })
    }

    /// Picks the programmes most like one, for the Personalize wire.
    pub fn pick_similar(
        &self,
        world: &World,
        item: &str,
        wish: &Wish,
        fetched: Option<&Fetched>,
        out: &mut Vec<u8>,
    ) -> Answer {
        self.picked(&self.asking(world, "", fetched), |asking, scratch, room| match world.catalogue.index(item) {
            Some(index) => answer::similar(asking, index, wish, scratch, room, out),
            None => answer::popular(world, wish, &Room::default(), world.awaits_lists(), out),
        })
    }

    /// Makes an answer in this worker's room, and counts it.
    fn picked(&self, asking: &Asking<'_>, make: impl FnOnce(&Asking<'_>, &mut Vec<u8>, &mut Room) -> Answer) -> Answer {
        let mut memory = self.memory.borrow_mut();
        let Memory { scratch, room, .. } = &mut *memory;
        let answer = make(asking, scratch, room);
        self.api.meter.recommended(answer.source, answer.items, answer.degraded);
        answer
    }

    /// Returns the wish of a filter on the Personalize wire, made once for its values.
    pub fn remembered<E>(
        &self,
        world: &World,
        key: &str,
        make: impl FnOnce() -> Result<Wish, E>,
    ) -> Result<Rc<Wish>, E> {
        // A query string has no zero byte, so that the two kinds of keys never meet.
        self.memory.borrow_mut().remembered(world, key, make)
    }

    /// Orders items for a viewer.
    pub fn rank<'i>(&self, world: &World, viewer: &str, items: &'i [String], fetched: Option<&Fetched>) -> Ranked<'i> {
        let mut memory = self.memory.borrow_mut();
        let Memory { scratch, room, .. } = &mut *memory;
        let ranked = answer::rank(&self.asking(world, viewer, fetched), items, scratch, room);
        self.api.meter.recommended(ranked.source, ranked.items.len(), ranked.degraded);
        ranked
    }

    fn health(&self, rest: &str) -> Option<Reply> {
        match rest {
            "live" => Some(by_us(json(br#"{"status":"live"}"#.to_vec()))),
            "ready" if self.api.ready() => {
                let world = self.api.world.load();
                let state = serde_json::json!({
                    "status": "ready",
                    "programmes": world.catalogue.len(),
                    "lists": world.lists_held(),
                    "generation": world.generation_number(),
                    // A store that is down is no reason to take the process out: it answers what everybody gets.
                    "store": state_of_store(&world),
                    "refreshes_failed": self.api.meter.refreshes_failed.load(Relaxed),
                });
                Some(by_us(json(state.to_string().into_bytes())))
            }
            "ready" if !self.api.is_draining() => {
                let state = state_of_store(&self.api.world.load());
                let detail = format!("the store of lists is {state} and nothing stands in: publish to it");
                Some(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "nothing-to-serve", detail).reply())
            }
            "ready" => {
                let detail = "the process is draining and takes no new work";
                Some(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", detail).reply())
            }
            _ => None,
        }
    }

    fn metrics(&self) -> Reply {
        let quota = self.api.campaign_quota();
        let quota = self.api.trouble.load().as_ref().and_then(|t| t.quota()).or(quota);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        let now = now + self.api.clock_s.load(Relaxed) as f64;
        let table = self.api.practice.as_ref().map(Practice::held_to).unwrap_or_default();
        let exposures_lost = self.api.exposures.as_ref().map(Exposures::lost);
        let beside = Beside { quota, exposures_lost, keys_since: self.api.gate.load().since };
        let page = self.api.meter.page(&self.api.world.load(), self.api.ready(), &table, &beside, now);
        let mut reply = Response::new(Full::new(Bytes::from(page)));
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
        reply
    }
}

impl Memory {
    /// Returns the compiled form of a query, from memory where it was seen with this catalogue.
    fn wish(&mut self, world: &World, query: &str) -> Result<Rc<Wish>, Problem> {
        self.remembered(world, query, || Wish::read(&world.catalogue, query))
    }

    fn remembered<E>(
        &mut self,
        world: &World,
        key: &str,
        make: impl FnOnce() -> Result<Wish, E>,
    ) -> Result<Rc<Wish>, E> {
        if !Arc::ptr_eq(&world.catalogue, &self.catalogue) {
            self.catalogue = Arc::clone(&world.catalogue);
            self.wishes.clear();
        }
        if let Some(wish) = self.wishes.get(key) {
            return Ok(Rc::clone(wish));
        }
        let wish = Rc::new(make()?);
        if self.wishes.len() >= WISHES {
            self.wishes.clear();
        }
        self.wishes.insert(key.into(), Rc::clone(&wish));
        Ok(wish)
    }
}

/// Says in one word how the store of lists is. One that is down is no reason to take the process out: what everybody
/// gets is answered.
fn state_of_store(world: &World) -> &'static str {
    let down = world.distant().is_some_and(Distant::is_left_alone);
    world.lack.map_or(if down { "down" } else { "up" }, Lack::word)
}

pub fn json(body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply
}

/// Marks a health answer with the process that gives it, so that a supervisor knows its own parts from a stranger.
pub fn by_us(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(PROCESS, HeaderValue::from(std::process::id()));
    reply
}

pub fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64)
}
