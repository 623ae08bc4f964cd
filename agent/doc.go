// Package agent verifies requests with tokens and keys that it keeps up to date
// with their sources.
//
// [Start] reads the sources that a [Config] names: a token from a file, a mounted
// Kubernetes Secret, an env file or an environment variable, and keys for signed
// tokens from a file or a server. Start returns an [Agent] that is ready, or an error.
// The caller must call [Agent.Close].
//
// The Agent watches its sources. It accepts a new token as soon as it reads it, and
// the token before it until an overlap ends ([Config.Overlap]), so that senders can
// switch later. An error of a source is logged, counted and shown in [Agent.Status];
// the Agent keeps accepting what it accepted before.
//
// An Agent is a [verify.Verifier], which httpauth and grpcauth take, a
// [verify.TokenSource] for senders, and a [prometheus.Collector], which the caller
// registers. All methods are safe for concurrent use. Verify never waits for a source:
// it loads one atomic pointer. The package does not link gRPC.
package agent
