package daemon

// room is memory that is there only to be counted. What lives in this process is
// about a megabyte, which the garbage of a thousand requests doubles, and then the
// collector runs: fifty times a second, beside a gateway that needs the processor.
// With room among what lives it runs less than half as often. Nobody writes to it,
// so the system never gives it pages; what it costs is 4 MB more of garbage. Unlike
// a higher GOGC, it adds to what a large source needs and does not multiply it.
//
// On a busy machine that was worth about a tenth of the throughput through nginx
// (the section forward of bench).
func room() []byte { return make([]byte, 4<<20) }
