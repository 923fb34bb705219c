//! Ids to indices and back: each distinct id once, in the order of first appearance.

/// Interned ids. Indices are dense, so factors and lists are plain arrays.
#[derive(Clone, Debug, Default)]
pub struct Names {
    text: String,
    /// Where each id ends in `text`.
    ends: Vec<u64>,
    /// Open addressing, index + 1; 0 is free. At most half full.
    table: Vec<u32>,
}

impl Names {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn get(&self, index: u32) -> &str {
        let i = index as usize;
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.text[start..self.ends[i] as usize]
    }

    pub fn find(&self, id: &str) -> Option<u32> {
        if self.table.is_empty() {
            return None;
        }
        self.slot(id).ok()
    }

    /// Returns the index of `id`, which becomes known if it was not.
    pub fn add(&mut self, id: &str) -> u32 {
        if self.table.len() < (self.len() + 1) * 2 {
            self.grow();
        }
        match self.slot(id) {
            Ok(known) => known,
            Err(free) => {
                self.text.push_str(id);
                self.ends.push(self.text.len() as u64);
                let index = self.len() as u32;
                self.table[free] = index;
                index - 1
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len() as u32).map(|i| self.get(i))
    }

    fn slot(&self, id: &str) -> Result<u32, usize> {
        let mask = self.table.len() - 1;
        let mut at = hash(id.as_bytes()) as usize & mask;
        loop {
            match self.table[at] {
                0 => return Err(at),
                taken if self.get(taken - 1) == id => return Ok(taken - 1),
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn grow(&mut self) {
        let size = (self.table.len() * 2).max(64);
        self.table.clear();
        self.table.resize(size, 0);
        for i in 0..self.len() as u32 {
            let mut at = hash(self.get(i).as_bytes()) as usize & (size - 1);
            while self.table[at] != 0 {
                at = (at + 1) & (size - 1);
            }
            self.table[at] = i + 1;
        }
    }
}

/// Eight bytes a step, multiplied and folded: short ids are all there is, and nobody attacks their own files.
fn hash(bytes: &[u8]) -> u64 {
    let mix = |h: u64, w: u64| {
        let product = u128::from(h ^ w).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        (product >> 64) as u64 ^ product as u64
    };
    let chunks = bytes.chunks_exact(8);
    let mut tail = [0; 8];
    tail[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    let head = chunks
        .fold(bytes.len() as u64, |h, c| mix(h, u64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]])));
    mix(head, u64::from_le_bytes(tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_the_order_of_their_first_appearance() {
        let mut names = Names::default();
        let given: Vec<String> = (0..5_000).map(|i| format!("u{}", i * 7919 % 1_000)).collect();
        let indices: Vec<u32> = given.iter().map(|id| names.add(id)).collect();
        assert_eq!(names.len(), 1_000);
        for (id, index) in given.iter().zip(indices) {
            assert_eq!(names.get(index), id);
            assert_eq!(names.find(id), Some(index));
        }
        assert_eq!(names.find("nobody"), None);
        assert_eq!(Names::default().find("nobody"), None);
    }
}
