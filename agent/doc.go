// Package agent keeps the accepted tokens of a service in step with where they
// are kept, and verifies requests with them.
//
// [Start] reads a token source (a file, a mounted Kubernetes Secret, an env
// file or an environment variable) and returns an [Agent] that is ready, or an
// error. From then on the Agent watches the source. When another token appears
// there, it is accepted at once; the one before it stays accepted through an
// overlap window, so that senders may change over when it suits them. A source
// that breaks changes nothing: what was accepted stays so, and the fault is
// logged, counted and shown.
//
// An Agent is a [verify.Verifier], so httpauth and grpcauth take it as it is,
// and a [prometheus.Collector], which the caller registers. It links no grpc.
//
// The data's way: the source's bytes go through one pure step (parse, then
// [rotation.Advance]) into an immutable set of tokens behind one atomic
// pointer. Requests read the pointer and nothing else; so do scrapes. Deadlines
// are decided when a token is verified, never by a timer.
package agent
