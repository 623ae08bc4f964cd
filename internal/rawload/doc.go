// Package rawload asks a server the same question again and again, over kept
// connections and as cheaply as it can, so that the server is what is measured
// and not the asking. It is for tests and benchmarks, on Linux.
package rawload
