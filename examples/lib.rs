//! The examples of gracehttp live beside this file, one each; this library is empty.
