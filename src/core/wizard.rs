//! The conversation in which somebody enrolls.
