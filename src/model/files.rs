//! A model on disk: one manifest and one mapped file of arrays, checksummed, versioned, put in place by a rename.
//!
//! `model.json` is a line of JSON and a line with its checksum; `model.bin` holds the arrays, little-endian, each on a
//! multiple of 64 bytes. Every byte of both is under a CRC-32, so that no flipped one goes unseen.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use super::convention::Convention;
use super::error::ModelError;
use super::event_value::EventValue;
use super::names::Names;
use super::tiles::Tiles;

const SCHEMA: &str = "serin.model/1";
const MANIFEST: &str = "model.json";
const ARRAYS: &str = "model.bin";
const ALIGN: usize = 64;
const AGAIN: &str = "train it again, or copy it again from where it came";

/// How a model was trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    pub rank: usize,
    pub iterations: usize,
    pub convention: Convention,
    pub regularization: f32,
    pub alpha: f32,
    pub seed: u64,
    pub event_value: EventValue,
    pub since_s: Option<u64>,
    pub half_life_s: Option<u64>,
    pub interactions: u64,
    /// The newest viewing, Unix seconds.
    pub newest: u32,
    pub loss: Vec<f64>,
}

/// What goes into a model.
pub struct Parts<'a> {
    pub training: Training,
    /// RFC 3339.
    pub trained_at: String,
    pub viewers: &'a Names,
    pub programmes: &'a Names,
    /// Row by row, `stride` apart, of which the first `rank` columns count.
    pub viewer_factors: &'a [f32],
    pub programme_factors: &'a [f32],
    pub stride: usize,
    pub seen_starts: &'a [u32],
    pub seen: &'a [u32],
    /// Most seen first, with the share of viewers who saw it.
    pub popular: &'a [(u32, f32)],
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    schema: String,
    id: String,
    trained_at: String,
    viewers: usize,
    programmes: usize,
    training: Training,
    bytes: u64,
    crc32: String,
    /// Where each array lies in `model.bin`: first byte and length.
    arrays: BTreeMap<String, (usize, usize)>,
}

/// A trained model, mapped: opening it reads every byte once for the checksum, and copies next to none.
#[derive(Debug)]
pub struct Model {
    manifest: Manifest,
    map: Mmap,
    spans: Spans,
    popular: Vec<(u32, f32)>,
    tiles: OnceLock<Tiles>,
}

type Span = (usize, usize);

#[derive(Debug)]
struct Spans {
    viewers: Ids,
    programmes: Ids,
    viewer_factors: Span,
    programme_factors: Span,
    seen_starts: Span,
    seen: Span,
}

#[derive(Debug)]
struct Ids {
    ends: Span,
    text: Span,
    order: Span,
}

impl Model {
    /// Opens a model folder; a damaged, foreign or newer one is refused with the reason.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let manifest = read_manifest(folder)?;
        let path = folder.join(ARRAYS);
        let damaged = |what: String| ModelError::file(&path, what, AGAIN);
        let file = File::open(&path).map_err(ModelError::reading(&path))?;
        let length = file.metadata().map_err(ModelError::reading(&path))?.len();
        if length != manifest.bytes || length == 0 {
            return Err(damaged(format!("is damaged: {length} bytes long, should be {}", manifest.bytes)));
        }
        // SAFETY: serin never changes a model file, it replaces folders whole; a map outlives the rename.
        let map = unsafe { Mmap::map(&file) }.map_err(ModelError::reading(&path))?;
        let crc = format!("{:08x}", crc32fast::hash(&map));
        if crc != manifest.crc32 {
            return Err(damaged(format!("is damaged: its checksum is {crc}, should be {}", manifest.crc32)));
        }
        let (v, p, rank) = (manifest.viewers, manifest.programmes, manifest.training.rank);
        let span = |name: &str, bytes: Option<usize>| {
            let span = manifest.arrays.get(name).copied().filter(|(start, length)| {
                let fits = start.checked_add(*length).is_some_and(|end| end <= map.len());
                fits && start % ALIGN == 0 && bytes.is_none_or(|b| b == *length)
            });
            span.ok_or_else(|| damaged(format!("does not hold `{name}` as this version writes it")))
        };
        let ids = |side: &str, n: usize| {
            Ok::<_, ModelError>(Ids {
                ends: span(&format!("{side}_ends"), Some(n * 8))?,
                text: span(&format!("{side}_text"), None)?,
                order: span(&format!("{side}_order"), Some(n * 4))?,
            })
        };
        let spans = Spans {
            viewers: ids("viewer", v)?,
            programmes: ids("programme", p)?,
            viewer_factors: span("viewer_factors", Some(v * rank * 4))?,
            programme_factors: span("programme_factors", Some(p * rank * 4))?,
            seen_starts: span("seen_starts", Some((v + 1) * 4))?,
            seen: span("seen", None)?,
        };
        let items: &[u32] = cast(&map, span("popular_items", Some(p * 4))?);
        let shares: &[f32] = cast(&map, span("popular_shares", Some(p * 4))?);
        let popular = items.iter().copied().zip(shares.iter().copied()).collect();
        Ok(Self { popular, spans, map, manifest, tiles: OnceLock::new() })
    }

    /// Returns the name of this version, such as `als-20261123-1f0a77c2`.
    pub fn id(&self) -> &str {
        &self.manifest.id
    }

    /// Returns when it was trained, RFC 3339.
    pub fn trained_at(&self) -> &str {
        &self.manifest.trained_at
    }

    pub fn training(&self) -> &Training {
        &self.manifest.training
    }

    pub fn rank(&self) -> usize {
        self.manifest.training.rank
    }

    pub fn viewers(&self) -> usize {
        self.manifest.viewers
    }

    pub fn viewer_id(&self, viewer: u32) -> &str {
        self.name(&self.spans.viewers, viewer)
    }

    pub fn viewer_index(&self, id: &str) -> Option<u32> {
        self.find(&self.spans.viewers, id)
    }

    pub fn programmes(&self) -> usize {
        self.manifest.programmes
    }

    pub fn programme_id(&self, programme: u32) -> &str {
        self.name(&self.spans.programmes, programme)
    }

    pub fn programme_index(&self, id: &str) -> Option<u32> {
        self.find(&self.spans.programmes, id)
    }

    pub fn viewer_factors(&self, viewer: u32) -> &[f32] {
        let (rank, from) = (self.rank(), viewer as usize * self.rank());
        &cast(&self.map, self.spans.viewer_factors)[from..from + rank]
    }

    /// Returns all programmes' factors, row by row.
    pub fn programme_factors(&self) -> &[f32] {
        cast(&self.map, self.spans.programme_factors)
    }

    /// Returns what a viewer has seen, ascending.
    pub fn seen(&self, viewer: u32) -> &[u32] {
        let starts: &[u32] = cast(&self.map, self.spans.seen_starts);
        let (from, to) = (starts[viewer as usize] as usize, starts[viewer as usize + 1] as usize);
        &cast(&self.map, self.spans.seen)[from..to]
    }

    /// Returns the programmes, most seen first, with the share of viewers who saw each.
    pub fn popular(&self) -> &[(u32, f32)] {
        &self.popular
    }

    /// Returns the programmes as the scoring kernel wants them; made at the first call.
    pub fn tiles(&self) -> &Tiles {
        self.tiles.get_or_init(|| Tiles::of(self.programme_factors(), self.rank()))
    }

    fn name(&self, ids: &Ids, index: u32) -> &str {
        let ends: &[u64] = cast(&self.map, ids.ends);
        let i = index as usize;
        let from = if i == 0 { 0 } else { ends[i - 1] as usize };
        let bytes = &self.map[ids.text.0 + from..ids.text.0 + ends[i] as usize];
        std::str::from_utf8(bytes).expect("ids were written from strings, and the checksum holds")
    }

    fn find(&self, ids: &Ids, id: &str) -> Option<u32> {
        let order: &[u32] = cast(&self.map, ids.order);
        let at = order.binary_search_by(|i| self.name(ids, *i).cmp(id)).ok()?;
        Some(order[at])
    }
}

/// Checks that a model may be written there, before hours of work: nothing, an empty folder, or another model.
pub fn may_write(folder: &Path) -> Result<(), ModelError> {
    let hint = "choose another folder with --out DIR";
    match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            return Err(ModelError::file(folder, "is a file, and a model is a folder", hint));
        }
        Err(e) => return Err(ModelError::reading(folder)(e)),
        Ok(mut entries) => {
            if entries.next().is_some() && !folder.join(MANIFEST).is_file() {
                return Err(ModelError::file(folder, "holds other files, and no model to replace", hint));
            }
        }
    }
    let parent = parent(folder);
    fs::create_dir_all(parent).map_err(ModelError::writing(parent))
}

/// Writes a model whole or not at all, and returns its name; a model that was there is replaced in one step.
pub fn write(folder: &Path, parts: &Parts<'_>) -> Result<String, ModelError> {
    may_write(folder)?;
    let name = folder.file_name().map_or_else(|| "model".into(), |n| n.to_string_lossy().into_owned());
    let temporary = parent(folder).join(format!(".{name}.{}", std::process::id()));
    let done = fs::create_dir(&temporary)
        .map_err(ModelError::writing(&temporary))
        .and_then(|()| write_into(&temporary, parts).map_err(ModelError::writing(folder)))
        .and_then(|id| put_in_place(&temporary, folder).map_err(ModelError::writing(folder)).map(|()| id));
    if done.is_err() {
        let _ = fs::remove_dir_all(&temporary);
    }
    done
}

fn parent(folder: &Path) -> &Path {
    folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn put_in_place(temporary: &Path, folder: &Path) -> io::Result<()> {
    if fs::rename(temporary, folder).is_err() {
        // A model is there: the two change places in one step, then the old one goes.
        exchange(temporary, folder)?;
        fs::remove_dir_all(temporary)?;
    }
    File::open(parent(folder))?.sync_all()
}

fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = |p: &Path| std::ffi::CString::new(p.as_os_str().as_bytes()).map_err(io::Error::other);
    let (one, other) = (path(one)?, path(other)?);
    // SAFETY: two paths that end in zero bytes and live through the call.
    let failed =
        unsafe { libc::renameat2(libc::AT_FDCWD, one.as_ptr(), libc::AT_FDCWD, other.as_ptr(), libc::RENAME_EXCHANGE) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn write_into(folder: &Path, parts: &Parts<'_>) -> io::Result<String> {
    let mut out = Arrays::create(folder.join(ARRAYS))?;
    let rank = parts.training.rank;
    for (side, names) in [("viewer", parts.viewers), ("programme", parts.programmes)] {
        let mut end = 0;
        out.array(
            &format!("{side}_ends"),
            names.iter().map(|id| {
                end += id.len() as u64;
                end.to_le_bytes()
            }),
        )?;
        out.array(&format!("{side}_text"), names.iter())?;
        let mut order: Vec<u32> = (0..names.len() as u32).collect();
        order.sort_unstable_by(|a, b| names.get(*a).cmp(names.get(*b)));
        out.array(&format!("{side}_order"), order.iter().map(|i| i.to_le_bytes()))?;
    }
    for (name, factors) in [("viewer_factors", parts.viewer_factors), ("programme_factors", parts.programme_factors)] {
        let kept = factors.chunks(parts.stride).flat_map(|row| &row[..rank]);
        out.array(name, kept.map(|f| f.to_le_bytes()))?;
    }
    out.array("seen_starts", parts.seen_starts.iter().map(|i| i.to_le_bytes()))?;
    out.array("seen", parts.seen.iter().map(|i| i.to_le_bytes()))?;
    out.array("popular_items", parts.popular.iter().map(|p| p.0.to_le_bytes()))?;
    out.array("popular_shares", parts.popular.iter().map(|p| p.1.to_le_bytes()))?;
    let (arrays, bytes, crc) = out.finish()?;
    let day: String = parts.trained_at.chars().take(10).filter(char::is_ascii_digit).collect();
    let manifest = Manifest {
        schema: SCHEMA.to_owned(),
        id: format!("als-{day}-{crc:08x}"),
        trained_at: parts.trained_at.clone(),
        viewers: parts.viewers.len(),
        programmes: parts.programmes.len(),
        training: parts.training.clone(),
        bytes,
        crc32: format!("{crc:08x}"),
        arrays,
    };
    let text = serde_json::to_string(&manifest)?;
    let mut file = File::create(folder.join(MANIFEST))?;
    write!(file, "{text}\ncrc32 {:08x}\n", crc32fast::hash(text.as_bytes()))?;
    file.sync_all()?;
    Ok(manifest.id)
}

/// The file of arrays while it is written.
struct Arrays {
    file: BufWriter<File>,
    crc: crc32fast::Hasher,
    at: usize,
    spans: BTreeMap<String, Span>,
}

impl Arrays {
    fn create(path: PathBuf) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        Ok(Self { file, crc: crc32fast::Hasher::new(), at: 0, spans: BTreeMap::new() })
    }

    fn array<B: AsRef<[u8]>>(&mut self, name: &str, values: impl Iterator<Item = B>) -> io::Result<()> {
        let start = self.at;
        let mut piece = Vec::with_capacity(1 << 16);
        for value in values {
            piece.extend_from_slice(value.as_ref());
            if piece.len() >= 1 << 16 {
                self.put(&piece)?;
                piece.clear();
            }
        }
        self.put(&piece)?;
        self.spans.insert(name.to_owned(), (start, self.at - start));
        let gap = self.at.next_multiple_of(ALIGN) - self.at;
        self.put(&[0; ALIGN][..gap])
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.at += bytes.len();
        self.file.write_all(bytes)
    }

    fn finish(self) -> io::Result<(BTreeMap<String, Span>, u64, u32)> {
        self.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok((self.spans, self.at as u64, self.crc.finalize()))
    }
}

fn read_manifest(folder: &Path) -> Result<Manifest, ModelError> {
    let path = folder.join(MANIFEST);
    let bytes = fs::read(&path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            ModelError::file(folder, "is no model folder: it has no model.json", "make one with: serin train --out DIR")
        }
        _ => ModelError::reading(&path)(e),
    })?;
    let damaged = |what: &str| ModelError::file(&path, format!("is damaged: {what}"), AGAIN);
    let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is not UTF-8"))?;
    let Some((line, last)) = text.split_once('\n') else { return Err(damaged("its checksum is missing")) };
    if last != format!("crc32 {:08x}\n", crc32fast::hash(line.as_bytes())) {
        return Err(damaged("its checksum does not match"));
    }
    let value: serde_json::Value = serde_json::from_str(line).map_err(|e| damaged(&e.to_string()))?;
    let schema = value["schema"].as_str().unwrap_or_default();
    if schema != SCHEMA {
        let what = format!("is a model of schema `{schema}`; this serin reads {SCHEMA}");
        return Err(ModelError::file(&path, what, "use the serin that made it, or train again"));
    }
    serde_json::from_value(value).map_err(|e| damaged(&e.to_string()))
}

/// A plain number of which every bit pattern is a value.
trait Number: Copy {}
impl Number for u32 {}
impl Number for u64 {}
impl Number for f32 {}

fn cast<T: Number>(map: &[u8], (start, length): Span) -> &[T] {
    // SAFETY: every bit pattern is a value of T; `align_to` keeps what is not aligned out of the middle, and spans are aligned.
    let (_, middle, _) = unsafe { map[start..start + length].align_to::<T>() };
    middle
}
