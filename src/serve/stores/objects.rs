//! An object store, a folder or a bucket: each generation of lists as one file with a manifest, and a pointer to the newest.
//!
//! `URL/GENERATION/lists.serin` is the very file that `--store embedded:` serves from; `manifest.json` beside it is written
//! last, so a generation without one is a torn upload. `URL/current.json` names the newest whole one.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use object_store::path::Path as Place;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload, WriteMultipart, parse_url_opts};
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::serve::error::ServeError;
use crate::serve::store::Meta;

/// What is sent at once; S3 takes parts from 5 MiB on.
const PART: usize = 8 << 20;
/// Parts under way at once.
const FLYING: usize = 4;
/// The end of the file, which holds the checksums of the rest, is read back.
const END: u64 = 64;

/// An object store that can be written to.
pub struct Objects {
    url: String,
    store: Box<dyn ObjectStore>,
    below: Place,
    runtime: Runtime,
}

/// What lies beside the lists.
#[derive(Debug, Serialize)]
struct Manifest<'a> {
    schema: &'a str,
    generation: &'a str,
    model: &'a str,
    trained_at: i64,
    published_at: i64,
    lists: u64,
    entries: u64,
    programmes: usize,
    bytes: u64,
    crc32: String,
}

impl Objects {
    /// Opens a folder, `file://..` or `s3://bucket/prefix`; keys and region come from the environment or the machine's role.
    pub fn open(url: &str, endpoint: Option<&str>) -> Result<Self, ServeError> {
        let wrong = |what: String| ServeError::Objects { at: url.to_owned(), what };
        let parsed = if url.contains("://") {
            reqwest::Url::parse(url).map_err(|e| wrong(e.to_string()))?
        } else {
            std::fs::create_dir_all(url).map_err(ServeError::io(url))?;
            let whole = std::path::absolute(url).map_err(ServeError::io(url))?;
            reqwest::Url::from_directory_path(&whole).map_err(|()| wrong("is no folder".to_owned()))?
        };
        if !["file", "s3", "s3a"].contains(&parsed.scheme()) {
            return Err(wrong("is neither a folder nor s3://bucket/prefix".to_owned()));
        }
        let from_env = std::env::vars().filter(|(name, _)| name.starts_with("AWS_"));
        let mut options: Vec<(String, String)> = from_env.map(|(n, v)| (n.to_lowercase(), v)).collect();
        if let Some(endpoint) = endpoint {
            options.retain(|(name, _)| !name.starts_with("aws_endpoint"));
            options.push(("aws_endpoint".to_owned(), endpoint.to_owned()));
        }
        let open = options.iter().any(|(n, v)| n.starts_with("aws_endpoint") && v.starts_with("http://"));
        if open {
            options.push(("aws_allow_http".to_owned(), "true".to_owned()));
        }
        let (store, below) = parse_url_opts(&parsed, options).map_err(|e| wrong(e.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| wrong(e.to_string()))?;
        Ok(Self { url: url.to_owned(), store, below, runtime })
    }

    /// Sends one generation: its lists, then its manifest, then the pointer; each is there whole or not at all.
    pub fn send(&self, generation: &str, lists: &Path, meta: &Meta) -> Result<u64, ServeError> {
        self.runtime.block_on(async {
            let folder = self.below.clone().join(generation);
            let place = folder.clone().join("lists.serin");
            let (bytes, crc) = self.send_file(&place, lists).await?;
            let manifest = Manifest {
                schema: "serin.lists/1",
                generation,
                model: &meta.model,
                trained_at: meta.trained_at,
                published_at: meta.published_at,
                lists: meta.lists,
                entries: meta.entries,
                programmes: meta.table.len(),
                bytes,
                crc32: format!("{crc:08x}"),
            };
            let text = serde_json::to_vec_pretty(&manifest).map_err(|e| self.failed(e.to_string()))?;
            let put = |place: Place, text: Vec<u8>| async move { self.store.put(&place, PutPayload::from(text)).await };
            put(folder.join("manifest.json"), text.clone()).await.map_err(|e| self.failed(e.to_string()))?;
            put(self.below.clone().join("current.json"), text).await.map_err(|e| self.failed(e.to_string()))?;
            Ok(bytes)
        })
    }

    async fn send_file(&self, place: &Place, path: &Path) -> Result<(u64, u32), ServeError> {
        let failed = |e: object_store::Error| self.failed(e.to_string());
        let mut file = File::open(path).map_err(ServeError::io(path))?;
        let length = file.metadata().map_err(ServeError::io(path))?.len();
        let mut crc = crc32fast::Hasher::new();
        let mut end = Vec::new();
        let upload = self.store.put_multipart(place).await.map_err(failed)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
        let mut part = vec![0; PART];
        loop {
            let read = file.read(&mut part).map_err(ServeError::io(path))?;
            if read == 0 {
                break;
            }
            crc.update(&part[..read]);
            end.extend_from_slice(&part[read.saturating_sub(END as usize)..read]);
            end.drain(..end.len().saturating_sub(END as usize));
            upload.wait_for_capacity(FLYING).await.map_err(failed)?;
            upload.write(&part[..read]);
        }
        upload.finish().await.map_err(failed)?;
        let there = self.store.head(place).await.map_err(failed)?.size;
        let from = length - end.len() as u64;
        let read_back = self.store.get_range(place, from..length).await.map_err(failed)?;
        if there != length || read_back[..] != end[..] {
            return Err(self.failed(format!("{place} reads back as another file")));
        }
        Ok((length, crc.finalize()))
    }

    fn failed(&self, what: String) -> ServeError {
        ServeError::Objects { at: self.url.clone(), what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_takes_a_generation_whole_and_points_to_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let lists = dir.path().join("gen-1.lists");
        // More than two parts.
        let bytes: Vec<u8> = (0..(PART * 2 + 77)).map(|i| (i % 251) as u8).collect();
        std::fs::write(&lists, &bytes).expect("written");
        let at = dir.path().join("objects");
        let objects = Objects::open(&at.display().to_string(), None).expect("opens");
        let meta = Meta { model: "m".to_owned(), lists: 3, ..Meta::default() };
        assert_eq!(objects.send("gen-1", &lists, &meta).expect("sent"), bytes.len() as u64);
        assert!(std::fs::read(at.join("gen-1/lists.serin")).expect("there") == bytes);
        let pointer: serde_json::Value =
            serde_json::from_slice(&std::fs::read(at.join("current.json")).expect("there")).expect("JSON");
        assert_eq!((&pointer["generation"], &pointer["lists"]), (&"gen-1".into(), &3.into()));
        assert_eq!(pointer["crc32"], format!("{:08x}", crc32fast::hash(&bytes)));
        assert!(at.join("gen-1/manifest.json").is_file());
    }

    #[test]
    fn what_is_no_object_store_is_said() {
        for bad in ["ftp://x/y", "http://127.0.0.1/x", "s3:///"] {
            assert!(Objects::open(bad, None).is_err(), "{bad}");
        }
    }
}
