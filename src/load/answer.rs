//! Reads an HTTP/1.1 answer byte by byte as it comes, bounded in every direction, and says what is left to come.

/// The most that a head may hold.
const HEAD_LIMIT: usize = 64 * 1024;

/// How much of a bad answer is kept in any case, for its example.
const KEEP_BAD: usize = 2048;

/// What an answer said, once it is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Whether the connection may be used again.
    pub keep: bool,
    pub throttled: bool,
    pub body_bytes: u64,
    /// The body's beginning, as much as was asked to be kept.
    pub body: Vec<u8>,
    /// Its last bytes.
    tail: Tail,
}

impl Answer {
    /// Begins an answer whose head was read by somebody else; `refusal` is its `x-amzn-errortype`.
    pub fn begun(status: u16, refusal: Option<&[u8]>) -> Self {
        Self { status, keep: true, throttled: refusal.is_some_and(says_throttled), ..Self::default() }
    }

    /// Takes a piece of the body.
    pub fn add(&mut self, bytes: &[u8], limits: Limits) -> Result<(), Broken> {
        self.body_bytes += bytes.len() as u64;
        self.tail.push(bytes);
        if self.body_bytes > limits.body {
            return Err(Broken::TooLarge);
        }
        let keep = if self.status >= 300 { limits.keep.max(KEEP_BAD) } else { limits.keep };
        let room = keep.saturating_sub(self.body.len()).min(bytes.len());
        self.body.extend_from_slice(&bytes[..room]);
        Ok(())
    }

    /// Whether the answer says that it is less than what was asked for. serin's API says so last, so the body's end is
    /// enough to look at.
    pub fn degraded(&self) -> bool {
        let end = self.tail.bytes();
        [&b"\"degraded\":true"[..], b"\"degraded\": true"]
            .iter()
            .any(|said| end.windows(said.len()).any(|w| w == *said))
    }
}

/// The last bytes of a body of any length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tail {
    held: [u8; 32],
    length: usize,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let room = self.held.len();
        let new = &bytes[bytes.len().saturating_sub(room)..];
        let kept = self.length.min(room - new.len());
        self.held.copy_within(self.length - kept..self.length, 0);
        self.held[kept..kept + new.len()].copy_from_slice(new);
        self.length = kept + new.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.held[..self.length]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("the answer is not HTTP/1.1")]
    NotHttp,
    #[error("the head of the answer is over 64 KiB")]
    HeadTooLarge,
    #[error("the length of the body is told twice or is no number")]
    Length,
    #[error("a chunk of the body has no valid size")]
    Chunk,
    #[error("the body is over the limit")]
    TooLarge,
    #[error("the connection closed in the middle of the answer")]
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Length(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailer,
    UntilClose,
}

/// How much of a body may come, and how much of its beginning is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub body: u64,
    pub keep: usize,
    /// An answer to HEAD has no body whatever it says.
    pub head_only: bool,
}

/// One answer under way; reused for the next one on its connection.
#[derive(Debug)]
pub struct Reader {
    stage: Stage,
    /// What is not yet a whole head, chunk size or trailer line.
    held: Vec<u8>,
    /// Whether any byte of this answer came.
    begun: bool,
    answer: Answer,
    limits: Limits,
}

impl Reader {
    pub fn new(limits: Limits) -> Self {
        Self { stage: Stage::Head, held: Vec::new(), begun: false, answer: Answer::default(), limits }
    }

    pub fn restart(&mut self, limits: Limits) {
        self.stage = Stage::Head;
        self.held.clear();
        self.begun = false;
        let mut body = std::mem::take(&mut self.answer.body);
        body.clear();
        self.answer = Answer { body, ..Answer::default() };
        self.limits = limits;
    }

    pub fn begun(&self) -> bool {
        self.begun
    }

    /// Takes what came; `Some` when the answer is whole. Bytes after its end make the connection useless, as nothing was asked.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<Option<&Answer>, Broken> {
        self.begun |= !bytes.is_empty();
        while !bytes.is_empty() {
            let (used, whole) = self.step(bytes)?;
            bytes = &bytes[used..];
            if whole {
                self.answer.keep &= bytes.is_empty();
                return Ok(Some(&self.answer));
            }
        }
        Ok(None)
    }

    /// The other side closed: the end of some answers, the loss of the others.
    pub fn closed(&mut self) -> Result<&Answer, Broken> {
        if self.stage == Stage::UntilClose {
            self.answer.keep = false;
            return Ok(&self.answer);
        }
        Err(Broken::Closed)
    }

    /// Uses some bytes; returns how many and whether the answer is whole.
    fn step(&mut self, bytes: &[u8]) -> Result<(usize, bool), Broken> {
        match self.stage {
            Stage::Head => self.head(bytes),
            Stage::Length(left) => {
                let used = left.min(bytes.len() as u64);
                self.body(&bytes[..used as usize])?;
                self.stage = Stage::Length(left - used);
                Ok((used as usize, left == used))
            }
            Stage::Chunk(left) => {
                let used = left.min(bytes.len() as u64);
                self.body(&bytes[..used as usize])?;
                self.stage = if left == used { Stage::ChunkEnd } else { Stage::Chunk(left - used) };
                Ok((used as usize, false))
            }
            Stage::UntilClose => {
                self.body(bytes)?;
                Ok((bytes.len(), false))
            }
            Stage::ChunkSize | Stage::ChunkEnd | Stage::Trailer => self.line(bytes),
        }
    }

    fn body(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.answer.add(bytes, self.limits)
    }

    fn head(&mut self, bytes: &[u8]) -> Result<(usize, bool), Broken> {
        // The usual case: the whole head in one read, parsed where it lies.
        if let (true, Some(end)) = (self.held.is_empty(), head_end(bytes, 0)) {
            return Ok((end, self.read_head(&bytes[..end])?));
        }
        let before = self.held.len();
        self.held.extend_from_slice(bytes);
        let Some(end) = head_end(&self.held, before.saturating_sub(3)) else {
            if self.held.len() > HEAD_LIMIT {
                return Err(Broken::HeadTooLarge);
            }
            // Garbage is named at once, not when its time is out.
            let seen = self.held.len().min(5);
            return if self.held[..seen] == b"HTTP/"[..seen] { Ok((bytes.len(), false)) } else { Err(Broken::NotHttp) };
        };
        let held = std::mem::take(&mut self.held);
        let whole = self.read_head(&held[..end])?;
        self.held = held;
        self.held.clear();
        Ok((end - before, whole))
    }

    /// Reads a whole head; returns whether the answer ends with it.
    fn read_head(&mut self, head: &[u8]) -> Result<bool, Broken> {
        if head.len() > HEAD_LIMIT {
            return Err(Broken::HeadTooLarge);
        }
        let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', a, b, c, rest @ ..] = head else {
            return Err(Broken::NotHttp);
        };
        if ![a, b, c].iter().all(|d| d.is_ascii_digit()) || !matches!(rest.first(), Some(b' ' | b'\r' | b'\n')) {
            return Err(Broken::NotHttp);
        }
        let digit = |d: &u8| u16::from(d - b'0');
        let status = digit(a) * 100 + digit(b) * 10 + digit(c);
        if status < 100 {
            return Err(Broken::NotHttp);
        }
        let (mut length, mut chunked, mut keep) = (None, false, *minor == b'1');
        for line in rest.split(|b| *b == b'\n').skip(1) {
            let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            match name.len() {
                14 if name.eq_ignore_ascii_case(b"content-length") => {
                    let told = number(value).ok_or(Broken::Length)?;
                    if length.is_some_and(|before| before != told) {
                        return Err(Broken::Length);
                    }
                    length = Some(told);
                }
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                    chunked = has_word(value, b"chunked");
                }
                10 if name.eq_ignore_ascii_case(b"connection") => {
                    keep = (keep && !has_word(value, b"close")) || has_word(value, b"keep-alive");
                }
                16 if name.eq_ignore_ascii_case(b"x-amzn-errortype") => {
                    self.answer.throttled |= says_throttled(value);
                }
                _ => {}
            }
        }
        if (100..200).contains(&status) && status != 101 {
            // An interim answer: the real one follows.
            return Ok(false);
        }
        self.answer.status = status;
        self.answer.keep = keep;
        let bodiless = self.limits.head_only || matches!(status, 101 | 204 | 304);
        self.stage = match (chunked, length) {
            _ if bodiless => return Ok(true),
            (true, _) => Stage::ChunkSize,
            (false, Some(0)) => return Ok(true),
            (false, Some(n)) if n > self.limits.body => return Err(Broken::TooLarge),
            (false, Some(n)) => Stage::Length(n),
            (false, None) => Stage::UntilClose,
        };
        Ok(false)
    }

    /// Reads one line between chunks.
    fn line(&mut self, bytes: &[u8]) -> Result<(usize, bool), Broken> {
        let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
            self.held.extend_from_slice(bytes);
            // A size line with a long extension, or trailers without an end, are nobody's honest answer.
            return if self.held.len() > 4096 { Err(Broken::Chunk) } else { Ok((bytes.len(), false)) };
        };
        self.held.extend_from_slice(&bytes[..end]);
        let held = std::mem::take(&mut self.held);
        let line = held.trim_ascii();
        let whole = match self.stage {
            Stage::ChunkSize => {
                let size = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
                let text = std::str::from_utf8(size).map_err(|_| Broken::Chunk)?;
                if text.is_empty() || text.len() > 15 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(Broken::Chunk);
                }
                let size = u64::from_str_radix(text, 16).map_err(|_| Broken::Chunk)?;
                self.stage = if size == 0 { Stage::Trailer } else { Stage::Chunk(size) };
                false
            }
            Stage::ChunkEnd if line.is_empty() => {
                self.stage = Stage::ChunkSize;
                false
            }
            Stage::ChunkEnd => return Err(Broken::Chunk),
            _ => line.is_empty(),
        };
        self.held = held;
        self.held.clear();
        Ok((end + 1, whole))
    }
}

/// Returns where the head ends, its empty line included; looks from `from` on.
fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let newline = at + bytes.get(at..)?.iter().position(|b| *b == b'\n')?;
        match bytes.get(newline + 1..)? {
            [b'\n', ..] => return Some(newline + 2),
            [b'\r', b'\n', ..] => return Some(newline + 3),
            _ => at = newline + 1,
        }
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |n, d| n * 10 + u64::from(d - b'0')))
}

fn has_word(list: &[u8], word: &[u8]) -> bool {
    list.split(|b| *b == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(word))
}

/// Whether an AWS error's name, or the beginning of its body, speaks of throttling.
pub fn says_throttled(text: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] =
        [b"ThrottlingException", b"ProvisionedThroughputExceeded", b"TooManyRequests", b"RequestLimitExceeded"];
    NAMES.iter().any(|name| text.windows(name.len()).any(|w| w == *name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { body: 1 << 20, keep: 64, head_only: false };

    fn read(text: &[u8]) -> Result<Option<Answer>, Broken> {
        Reader::new(LIMITS).take(text).map(Option::<&Answer>::cloned)
    }

    fn whole(text: &[u8]) -> Answer {
        read(text).expect("good").expect("whole")
    }

    #[test]
    fn a_plain_answer_is_read_with_its_body() {
        let answer = whole(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!((answer.status, answer.keep, answer.body.as_slice()), (200, true, &b"hello"[..]));
    }

    #[test]
    fn chunks_trailers_and_interim_answers_are_followed() {
        let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4;x=1\r\nWiki\r\n5\r\npedia\r\n0\r\nX: y\r\n\r\n";
        let answer = whole(text);
        assert_eq!((answer.status, answer.keep, answer.body.as_slice()), (503, false, &b"Wikipedia"[..]));
    }

    #[test]
    fn bodies_end_where_their_status_or_the_close_says() {
        assert_eq!(whole(b"HTTP/1.1 204 No Content\r\n\r\n").body_bytes, 0);
        let mut reader = Reader::new(LIMITS);
        assert_eq!(reader.take(b"HTTP/1.0 200 OK\r\n\r\nsome"), Ok(None));
        assert_eq!(reader.closed().map(|a| (a.body_bytes, a.keep)), Ok((4, false)));
        let mut torn = Reader::new(LIMITS);
        assert_eq!(torn.take(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome"), Ok(None));
        assert_eq!(torn.closed().cloned(), Err(Broken::Closed));
    }

    #[test]
    fn a_degraded_answer_says_so_at_its_end() {
        let with = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let items = "{\"items\":[{\"id\":\"a much longer list than the end that is looked at\"}],\"degraded\":";
        assert!(whole(with(&format!("{items}true}}")).as_bytes()).degraded());
        assert!(!whole(with(&format!("{items}false}}")).as_bytes()).degraded());
        let text = with(&format!("{items}true}}"));
        let cuts: Vec<usize> = (0..text.len()).collect();
        assert!(in_pieces(text.as_bytes(), &cuts).expect("good").expect("whole").degraded(), "byte by byte");
    }

    #[test]
    fn throttling_is_read_from_the_header() {
        let text = b"HTTP/1.1 400 Bad\r\nx-amzn-ErrorType: ThrottlingException:http://x\r\ncontent-length: 0\r\n\r\n";
        assert!(whole(text).throttled);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table: [(&[u8], Broken); 8] = [
            (b"SSH-2.0-OpenSSH\r\n", Broken::NotHttp),
            (b"HTTP/2 200\r\n\r\n", Broken::NotHttp),
            (b"HTTP/1.1 20x OK\r\n\r\n", Broken::NotHttp),
            (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Broken::Length),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Broken::Length),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Broken::Chunk),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", Broken::Chunk),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n", Broken::TooLarge),
        ];
        for (text, broken) in table {
            assert_eq!(read(text), Err(broken), "{}", String::from_utf8_lossy(text));
        }
        let endless = [&b"HTTP/1.1 200 OK\r\n"[..], &b"X: y\r\n".repeat(20_000)].concat();
        assert_eq!(read(&endless), Err(Broken::HeadTooLarge));
    }

    #[test]
    fn what_follows_an_answer_spoils_the_connection() {
        assert!(!whole(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200").keep);
    }

    fn in_pieces(text: &[u8], cuts: &[usize]) -> Result<Option<Answer>, Broken> {
        let mut reader = Reader::new(LIMITS);
        let mut at = 0;
        for end in cuts.iter().map(|c| c % (text.len() + 1)).chain([text.len()]) {
            if end < at {
                continue;
            }
            if let Some(answer) = reader.take(&text[at..end])? {
                return Ok(Some(answer.clone()));
            }
            at = end;
        }
        Ok(None)
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&text);
            let _ = read(&[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", text.as_slice()].concat());
        }

        #[test]
        fn where_the_reads_cut_changes_nothing(
            body in prop::collection::vec(any::<u8>(), 0..200), chunk in 1_usize..50, chunked: bool,
            mut cuts in prop::collection::vec(any::<usize>(), 0..12),
        ) {
            let mut text = b"HTTP/1.1 200 OK\r\n".to_vec();
            if chunked {
                text.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for piece in body.chunks(chunk) {
                    text.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    text.extend_from_slice(piece);
                    text.extend_from_slice(b"\r\n");
                }
                text.extend_from_slice(b"0\r\n\r\n");
            } else {
                text.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
                text.extend_from_slice(&body);
            }
            for cut in &mut cuts {
                *cut %= text.len() + 1;
            }
            cuts.sort_unstable();
            let answer = in_pieces(&text, &cuts).expect("good").expect("whole");
            prop_assert_eq!(answer.body_bytes, body.len() as u64);
            prop_assert_eq!(&answer.body[..], &body[..body.len().min(64)]);
            prop_assert!(answer.keep);
        }
    }
}
