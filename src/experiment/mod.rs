//! A/B analysis: exposures and outcomes in; the difference, its interval, and what could have been noticed out.
//!
//! A day-by-day look is judged by a mixture sequential test, because people look every day; the fixed-size interval decides
//! only at an end that was planned beforehand. CUPED is preferred to a plain mean wherever every viewer has a past.

pub mod analysis;
pub mod chance;
pub mod exposures;
pub mod moments;
pub mod peek;
