//! Metrics, read by strict readers of both forms, through restarts, take-backs, crashes and attacks.

mod attacks;
mod exposition;
mod forms;
mod own;
mod restarts;
mod stage;
