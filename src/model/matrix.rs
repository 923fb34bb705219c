//! Sparse viewings: rows of (column, value), and the same turned round.

/// Rows one after the other; `starts` has one entry more than there are rows.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    pub starts: Vec<u32>,
    pub columns: Vec<u32>,
    pub values: Vec<f32>,
}

impl Matrix {
    pub fn rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.starts[row] as usize..self.starts[row + 1] as usize;
        (&self.columns[range.clone()], &self.values[range])
    }

    /// Returns the same viewings by column; each new row's entries ascend.
    #[must_use]
    pub fn turned(&self, columns: usize) -> Self {
        let mut starts = vec![0_u32; columns + 1];
        self.columns.iter().for_each(|c| starts[*c as usize + 1] += 1);
        for i in 0..columns {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let (mut turned, mut values) = (vec![0; self.columns.len()], vec![0.0; self.columns.len()]);
        for row in 0..self.rows() {
            let (own, weights) = self.row(row);
            for (column, value) in own.iter().zip(weights) {
                let at = &mut next[*column as usize];
                turned[*at as usize] = row as u32;
                values[*at as usize] = *value;
                *at += 1;
            }
        }
        Self { starts, columns: turned, values }
    }
}
