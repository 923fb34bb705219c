//! HAProxy's runtime socket: the weights of two servers, or one entry of a map that the configuration cuts viewers by.
//!
//! Both are lost when HAProxy is started again; the walk reads the share each second and sets it anew.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::canary::driver::{Driver, DriverError};
use crate::canary::split::Counted;
use crate::canary::wiring::Haproxy;

const PATIENCE: Duration = Duration::from_secs(2);
/// Both weights together: steps of half a percent, and HAProxy's highest is 256.
const TOTAL: f64 = 200.0;

pub struct Socket(Haproxy);

impl Socket {
    pub fn new(wiring: Haproxy) -> Self {
        Self(wiring)
    }

    fn failed(&self, why: impl Into<String>) -> DriverError {
        DriverError::new(format!("HAProxy at {}", self.0.socket), why)
    }

    fn say(&self, words: &str) -> Result<String, DriverError> {
        let heard = if self.0.socket.starts_with('/') { self.say_unix(words) } else { self.say_tcp(words) };
        heard.map_err(|e| self.failed(e.to_string()))
    }

    fn say_unix(&self, words: &str) -> std::io::Result<String> {
        let stream = UnixStream::connect(&self.0.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        exchange(stream, words)
    }

    fn say_tcp(&self, words: &str) -> std::io::Result<String> {
        let stream = TcpStream::connect(&self.0.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        exchange(stream, words)
    }

    /// Says what answers nothing when it is done.
    fn order(&self, words: &str) -> Result<(), DriverError> {
        let heard = self.say(words)?;
        match heard.trim() {
            "" => Ok(()),
            complaint => Err(self.failed(format!("`{words}`: {complaint}"))),
        }
    }

    fn server(&self, name: &str) -> String {
        if name.contains('/') { name.to_owned() } else { format!("{}/{name}", self.0.backend) }
    }

    fn weight(&self, name: &str) -> Result<f64, DriverError> {
        let words = format!("get weight {}", self.server(name));
        let heard = self.say(&words)?;
        // "20 (initial 100)"
        let weight = heard.split_whitespace().next().and_then(|w| w.parse().ok());
        weight.ok_or_else(|| self.failed(format!("`{words}`: {}", heard.trim())))
    }

    fn percent(&self, map: &str) -> Result<Option<f64>, DriverError> {
        let heard = self.say(&format!("show map {map}"))?;
        // "0x55d0c7e0 percent 20"
        let entry = heard.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.nth(1) == Some(self.0.key.as_str())).then(|| words.next().unwrap_or_default().to_owned())
        });
        match entry {
            Some(value) => value.parse().map(Some).map_err(|_| {
                self.failed(format!("the map {map} has `{value}` for {}, which is no percentage", self.0.key))
            }),
            None if heard.contains("nknown map") => Err(self.failed(heard.trim())),
            None => Ok(None),
        }
    }
}

fn exchange(mut stream: impl Read + Write, words: &str) -> std::io::Result<String> {
    stream.write_all(format!("{words}\n").as_bytes())?;
    let mut heard = String::new();
    stream.read_to_string(&mut heard)?;
    Ok(heard)
}

impl Driver for Socket {
    fn name(&self) -> String {
        format!("HAProxy at {}", self.0.socket)
    }

    fn read(&mut self) -> Result<f64, DriverError> {
        if let Some(map) = &self.0.map {
            // A map without the key sends nobody to the canary.
            return Ok(self.percent(map)?.unwrap_or(0.0) / 100.0);
        }
        let (canary, baseline) = (self.weight(&self.0.canary)?, self.weight(&self.0.baseline)?);
        if canary + baseline <= 0.0 {
            return Err(self.failed("both weights are 0: nobody is served"));
        }
        Ok(canary / (canary + baseline))
    }

    fn set(&mut self, share: f64) -> Result<(), DriverError> {
        if let Some(map) = self.0.map.clone() {
            // The configuration cuts viewers into a hundred buckets.
            let percent = (share * 100.0).round();
            let verb = if self.percent(&map)?.is_some() { "set" } else { "add" };
            return self.order(&format!("{verb} map {map} {} {percent}", self.0.key));
        }
        let canary = (share * TOTAL).round();
        let weigh = |name: &str, weight: f64| format!("set weight {} {weight}", self.server(name));
        // One line: no moment between the two in which both are low.
        self.order(&format!("{}; {}", weigh(&self.0.canary, canary), weigh(&self.0.baseline, TOTAL - canary)))
    }

    fn requests(&mut self) -> Result<Option<Counted>, DriverError> {
        let heard = self.say("show stat")?;
        let [canary, baseline] = [&self.0.canary, &self.0.baseline].map(|n| sessions(&heard, &self.server(n)));
        Ok(canary.zip(baseline).map(|(canary, baseline)| Counted { canary, all: canary + baseline }))
    }
}

/// Returns how many requests a server was ever given, out of the CSV of `show stat`.
fn sessions(csv: &str, server: &str) -> Option<f64> {
    let mut lines = csv.lines();
    let head: Vec<&str> = lines.next()?.trim_start_matches("# ").split(',').collect();
    let column = |name: &str| head.iter().position(|h| *h == name);
    let (backend, name, total) = (column("pxname")?, column("svname")?, column("stot")?);
    let wanted = server.split_once('/')?;
    let row = lines.map(|l| l.split(',').collect::<Vec<_>>());
    let row = row.filter(|r| r.len() > total).find(|r| (r[backend], r[name]) == wanted);
    row?.get(total)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_found_in_the_statistics() {
        let csv = "# pxname,svname,qcur,stot,\nfront,FRONTEND,0,9,\nrecs,old,0,7,\nrecs,new,0,2,\n";
        assert_eq!((sessions(csv, "recs/new"), sessions(csv, "recs/none")), (Some(2.0), None));
        assert_eq!(sessions("", "recs/new"), None);
    }
}
