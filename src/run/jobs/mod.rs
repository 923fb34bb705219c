//! The kinds of jobs, one a file.
