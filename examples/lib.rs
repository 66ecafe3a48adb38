//! The examples of gracehttp live beside this file, one each, and the shop in a directory; this library is empty.
