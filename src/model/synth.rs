//! Viewers who never lived, from a seed: popular and rare programmes, mixed tastes, ninety days of evenings.
//!
//! Programme popularity is Zipf(0.9). Each viewer mixes eight genres and leans, within them, towards some directions of a
//! small space in which programmes lie; one in twenty viewings is chance. Completions are higher in genres the viewer likes.
//! Every viewer draws from a generator of their own, so that the files do not depend on the number of threads.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Beta, Distribution, Gamma, StandardNormal};
use rand_pcg::Pcg64;
use rayon::prelude::*;

use super::error::ModelError;
use crate::stats::progress::{Progress, Tell};
use crate::stop::Stop;

const GENRES: [&str; 8] = ["reality", "film", "series", "news", "sport", "kids", "documentary", "music"];
const CHANNELS: [&str; 6] = ["ch-one", "ch-nine", "ch-six", "kids", "film", "teens"];
const DEVICES: [&str; 5] = ["tv", "web", "ios", "android", "tablet"];
const COUNTRIES: [(&str, f64); 5] = [("FR", 0.45), ("NL", 0.2), ("BE", 0.15), ("HR", 0.1), ("HU", 0.1)];
const FIRST: [&str; 16] = [
    "Silent", "Golden", "Last", "Hidden", "Northern", "Open", "Broken", "Little", "Blue", "Second", "Wild", "Long",
    "Secret", "Bright", "Late", "Distant",
];
const SECOND: [&str; 16] = [
    "Harbour", "Kitchen", "Summer", "Island", "Court", "Garden", "Signal", "Family", "River", "Match", "Street",
    "Voice", "Mountain", "Letter", "Night", "Journey",
];
/// 2025-06-15 00:00 UTC, and ninety days from there.
const BEGIN: u32 = 1_749_945_600;
const DAYS: u32 = 90;
/// Directions that viewers may lean to.
const LEANINGS: usize = 64;
const AXES: usize = 3;
const CONSENT: f64 = 0.9;
/// Of a thousand viewings, how many begin in each hour of the day: evenings are full.
const HOURS: [u32; 24] = [22, 12, 6, 4, 3, 4, 8, 16, 22, 24, 26, 30, 42, 40, 36, 36, 40, 52, 72, 98, 128, 132, 96, 51];

/// How large the platform is.
#[derive(Clone, Debug, PartialEq)]
pub struct Size {
    pub viewers: usize,
    pub programmes: usize,
    /// Rows in all: each viewer's last one goes to heldout.csv, the others to interactions.csv.
    pub viewings: usize,
    pub seed: u64,
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    pub interactions: usize,
    pub heldout: usize,
    pub with_consent: usize,
}

/// Writes interactions.csv, items.csv, users.csv and heldout.csv; the same size and seed give the same bytes.
pub fn write(folder: &Path, size: &Size, stop: &Stop, tell: Tell) -> Result<Made, ModelError> {
    check(size)?;
    fs::create_dir_all(folder).map_err(ModelError::writing(folder))?;
    let programmes = Programmes::draw(size);
    let counts = counts(size);
    let mut files = Files::create(folder)?;
    let mut made = Made { interactions: 0, heldout: 0, with_consent: 0 };
    let began = std::time::Instant::now();
    for from in (0..size.viewers).step_by(8192) {
        if stop.requested() {
            return Err(ModelError::Stopped);
        }
        let upto = size.viewers.min(from + 8192);
        let viewers: Vec<usize> = (from..upto).collect();
        let written: Vec<Text> = viewers
            .par_chunks(512)
            .map(|group| {
                let mut text = Text::default();
                let mut used = vec![u32::MAX; size.programmes];
                for v in group {
                    viewer(*v, counts[*v], size.seed, &programmes, &mut used, &mut text);
                }
                text
            })
            .collect();
        for text in &written {
            files.append(text)?;
            made.interactions += text.rows;
            made.heldout += text.held;
            made.with_consent += text.agreed;
        }
        let (done, total) = (upto as f64, size.viewers as f64);
        tell(Progress {
            task: "making viewings".to_owned(),
            done,
            total: Some(total),
            unit: "viewers".to_owned(),
            left_s: Some(began.elapsed().as_secs_f64() / done * (total - done)),
            note: String::new(),
        });
    }
    files.finish(&items(size, &programmes))?;
    Ok(made)
}

/// Returns a generator of its own for each purpose, and for each viewer.
fn drawing(seed: u64, purpose: u64) -> Pcg64 {
    // Multiplied by an odd constant, so that no two (seed, purpose) that people use meet.
    Pcg64::seed_from_u64(
        seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(purpose).wrapping_mul(0xD134_2543_DE82_EF95),
    )
}

fn check(size: &Size) -> Result<(), ModelError> {
    let most = most_each(size) * size.viewers;
    if size.viewers == 0 || size.programmes < 16 {
        return Err(ModelError::asked(
            "a platform has at least one viewer and 16 programmes",
            "raise --viewers or --programmes",
        ));
    }
    if size.viewings < size.viewers * 2 || size.viewings > most {
        let what = format!(
            "{} viewings do not fit {} viewers and {} programmes",
            size.viewings, size.viewers, size.programmes
        );
        let hint =
            format!("choose --viewings between {} (two a viewer) and {most} (half of all pairs)", size.viewers * 2);
        return Err(ModelError::asked(what, hint));
    }
    Ok(())
}

fn most_each(size: &Size) -> usize {
    size.programmes / 2
}

/// Returns how many viewings each viewer has: log-normal, in sum exactly what was asked for.
fn counts(size: &Size) -> Vec<usize> {
    let mut random = drawing(size.seed, 1);
    let activity: Vec<f64> = (0..size.viewers)
        .map(|_| {
            let drawn: f64 = StandardNormal.sample(&mut random);
            (0.9 * drawn).exp()
        })
        .collect();
    let scale = size.viewings as f64 / activity.iter().sum::<f64>();
    let most = most_each(size);
    let mut counts: Vec<usize> = activity.iter().map(|a| ((a * scale) as usize).clamp(2, most)).collect();
    let mut sum: usize = counts.iter().sum();
    // What rounding and the bounds moved is spread evenly over those who can take it.
    while sum != size.viewings {
        let before = sum;
        for count in &mut counts {
            if sum < size.viewings && *count < most {
                *count += 1;
                sum += 1;
            } else if sum > size.viewings && *count > 2 {
                *count -= 1;
                sum -= 1;
            }
        }
        if sum == before {
            break;
        }
    }
    counts
}

struct Programmes {
    genre: Vec<usize>,
    members: Vec<Vec<u32>>,
    directions: Vec<[f64; AXES]>,
    /// Cumulative weights of a genre's members, for each leaning.
    drawn: Vec<Vec<f32>>,
    /// Cumulative popularity of all.
    popularity: Vec<f32>,
}

impl Programmes {
    fn draw(size: &Size) -> Self {
        let mut random = drawing(size.seed, 2);
        let n = size.programmes;
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, random.random_range(0..=i));
        }
        let popularity: Vec<f64> = order.iter().map(|rank| 1.0 / (*rank as f64 + 1.0).powf(0.9)).collect();
        // Each genre has something in it, whatever the seed.
        let genre: Vec<usize> = (0..n)
            .map(|i| if i < 2 * GENRES.len() { i % GENRES.len() } else { random.random_range(0..GENRES.len()) })
            .collect();
        let axes: Vec<[f64; AXES]> =
            (0..n).map(|_| std::array::from_fn(|_| StandardNormal.sample(&mut random))).collect();
        let directions: Vec<[f64; AXES]> = (0..LEANINGS)
            .map(|_| {
                std::array::from_fn(|_| {
                    let drawn: f64 = StandardNormal.sample(&mut random);
                    drawn * 0.8
                })
            })
            .collect();
        let members: Vec<Vec<u32>> =
            (0..GENRES.len()).map(|g| (0..n as u32).filter(|i| genre[*i as usize] == g).collect()).collect();
        let mut drawn = Vec::with_capacity(GENRES.len() * LEANINGS);
        for own in &members {
            for direction in &directions {
                drawn.push(cumulated(own.iter().map(|i| {
                    let near: f64 = axes[*i as usize].iter().zip(direction).map(|(a, d)| a * d).sum();
                    popularity[*i as usize] * near.exp()
                })));
            }
        }
        Self { genre, members, directions, drawn, popularity: cumulated(popularity.iter().copied()) }
    }
}

fn cumulated(weights: impl Iterator<Item = f64>) -> Vec<f32> {
    let mut sum = 0.0;
    let sums: Vec<f64> = weights
        .map(|w| {
            sum += w;
            sum
        })
        .collect();
    sums.iter().map(|s| (s / sum) as f32).collect()
}

fn pick(cumulated: &[f32], random: &mut impl Rng) -> usize {
    let drawn: f32 = random.random();
    cumulated.partition_point(|c| *c < drawn).min(cumulated.len() - 1)
}

/// The lines of some viewers.
#[derive(Default)]
struct Text {
    interactions: Vec<u8>,
    heldout: Vec<u8>,
    users: Vec<u8>,
    rows: usize,
    held: usize,
    agreed: usize,
}

fn viewer(index: usize, count: usize, seed: u64, all: &Programmes, used: &mut [u32], text: &mut Text) {
    let mut random = drawing(seed, 1000 + index as u64);
    let gamma = Gamma::new(0.25, 1.0).expect("both are positive");
    let tastes: [f64; 8] = std::array::from_fn(|_| gamma.sample(&mut random) + 1e-9);
    let sum: f64 = tastes.iter().sum();
    let mix = cumulated(tastes.iter().copied());
    let own: [f64; AXES] = std::array::from_fn(|_| {
        let drawn: f64 = StandardNormal.sample(&mut random);
        drawn * 0.8
    });
    let distance = |d: &[f64; AXES]| d.iter().zip(own).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    let nearest = (0..LEANINGS).min_by(|a, b| distance(&all.directions[*a]).total_cmp(&distance(&all.directions[*b])));
    let leaning = nearest.unwrap_or(0);
    let completions: [Beta<f64>; 8] =
        std::array::from_fn(|g| Beta::new(1.2 + 3.0 * tastes[g] / sum, 1.2).expect("both are positive"));
    let mut rows: Vec<(u32, u32, u32)> = Vec::with_capacity(count);
    let (mut tries, mark) = (0, index as u32);
    while rows.len() < count {
        tries += 1;
        let programme = if tries > count * 8 {
            // Their tastes are exhausted: whatever is left.
            random.random_range(0..used.len())
        } else if random.random::<f32>() < 0.05 {
            pick(&all.popularity, &mut random)
        } else {
            let genre = pick(&mix, &mut random);
            all.members[genre][pick(&all.drawn[genre * LEANINGS + leaning], &mut random)] as usize
        };
        if used[programme] == mark {
            continue;
        }
        used[programme] = mark;
        let completion = completions[all.genre[programme]].sample(&mut random).clamp(0.02, 1.0);
        rows.push((moment(&mut random), programme as u32, (completion * 10_000.0).round() as u32));
    }
    rows.sort_unstable();
    let last = rows.pop();
    for (at, programme, completion) in &rows {
        let out = &mut text.interactions;
        out.push(b'u');
        number(out, index as u32);
        out.extend_from_slice(b",p");
        number(out, *programme);
        out.push(b',');
        number(out, *at);
        out.extend_from_slice(b",watch,");
        share(out, *completion);
        out.push(b'\n');
    }
    text.rows += rows.len();
    if let Some((_, programme, _)) = last {
        text.held += 1;
        text.heldout.push(b'u');
        number(&mut text.heldout, index as u32);
        text.heldout.extend_from_slice(b",p");
        number(&mut text.heldout, programme);
        text.heldout.push(b'\n');
    }
    let (mut country, mut drawn) = (COUNTRIES[0].0, random.random::<f64>());
    for (name, part) in COUNTRIES {
        country = name;
        drawn -= part;
        if drawn < 0.0 {
            break;
        }
    }
    let agreed = random.random::<f64>() < CONSENT;
    text.agreed += usize::from(agreed);
    text.users.push(b'u');
    number(&mut text.users, index as u32);
    text.users.extend_from_slice(format!(",{country},{agreed}\n").as_bytes());
}

/// Returns a moment of the ninety days, most likely in the evening.
fn moment(random: &mut impl Rng) -> u32 {
    let mut drawn = random.random_range(0..HOURS.iter().sum::<u32>());
    let mut hour = 0;
    while drawn >= HOURS[hour] {
        drawn -= HOURS[hour];
        hour += 1;
    }
    BEGIN + random.random_range(0..DAYS) * 86_400 + hour as u32 * 3_600 + random.random_range(0..3_600)
}

fn number(out: &mut Vec<u8>, mut n: u32) {
    let mut digits = [0; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Writes ten-thousandths as a share: `0.0312`, `1`.
fn share(out: &mut Vec<u8>, n: u32) {
    if n >= 10_000 {
        out.push(b'1');
        return;
    }
    out.extend_from_slice(b"0.");
    for scale in [1000, 100, 10, 1] {
        out.push(b'0' + (n / scale % 10) as u8);
    }
}

fn items(size: &Size, programmes: &Programmes) -> Vec<u8> {
    let mut random = drawing(size.seed, 3);
    let mut out = b"ITEM_ID,TITLE,CHANNEL,DEVICES,GENRE,DURATION_S,CREATION_TIMESTAMP\n".to_vec();
    for i in 0..size.programmes {
        let mut on: Vec<&str> = DEVICES.into_iter().filter(|_| random.random::<f32>() < 0.7).collect();
        if on.is_empty() {
            on.push("tv");
        }
        let title = format!("The {} {} {}", FIRST[i % 16], SECOND[i / 16 % 16], i / 256 + 1);
        let channel = CHANNELS[random.random_range(0..CHANNELS.len())];
        let length = random.random_range(10..120) * 60;
        let created = BEGIN - random.random_range(86_400..200 * 86_400);
        let genre = GENRES[programmes.genre[i]];
        let line = format!("p{i},{title},{channel},{},{genre},{length},{created}\n", on.join("|"));
        out.extend_from_slice(line.as_bytes());
    }
    out
}

/// The four files while they are written; they get their names when all are whole.
struct Files<'a> {
    folder: &'a Path,
    interactions: BufWriter<fs::File>,
    heldout: Vec<u8>,
    users: Vec<u8>,
    whole: bool,
}

impl<'a> Files<'a> {
    fn create(folder: &'a Path) -> Result<Self, ModelError> {
        let path = folder.join(".interactions.csv.part");
        let file = fs::File::create(&path).map_err(ModelError::writing(&path))?;
        let mut interactions = BufWriter::with_capacity(1 << 20, file);
        let head = interactions.write_all(b"USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE\n");
        head.map_err(ModelError::writing(&path))?;
        let (heldout, users) = (b"USER_ID,ITEM_ID\n".to_vec(), b"USER_ID,COUNTRY,CONSENT\n".to_vec());
        Ok(Self { folder, interactions, heldout, users, whole: false })
    }

    fn append(&mut self, text: &Text) -> Result<(), ModelError> {
        self.heldout.extend_from_slice(&text.heldout);
        self.users.extend_from_slice(&text.users);
        self.interactions
            .write_all(&text.interactions)
            .map_err(ModelError::writing(&self.folder.join("interactions.csv")))
    }

    fn finish(mut self, items: &[u8]) -> Result<(), ModelError> {
        let path = self.folder.join("interactions.csv");
        self.interactions.flush().map_err(ModelError::writing(&path))?;
        for (name, bytes) in [("heldout.csv", &self.heldout[..]), ("users.csv", &self.users[..]), ("items.csv", items)]
        {
            let path = self.folder.join(format!(".{name}.part"));
            fs::write(&path, bytes).map_err(ModelError::writing(&path))?;
        }
        for name in ["heldout.csv", "users.csv", "items.csv", "interactions.csv"] {
            let path = self.folder.join(name);
            fs::rename(self.folder.join(format!(".{name}.part")), &path).map_err(ModelError::writing(&path))?;
        }
        self.whole = true;
        Ok(())
    }
}

impl Drop for Files<'_> {
    fn drop(&mut self) {
        if !self.whole {
            for name in ["interactions", "heldout", "users", "items"] {
                let _ = fs::remove_file(self.folder.join(format!(".{name}.csv.part")));
            }
        }
    }
}
