// Package hold switches off the delay of a refusal for one call of a verifier. Package
// jwt delays the refusal of a forged token while other checks wait. It must not delay a
// caller that asks another verifier next, which may accept the token.
package hold

import "context"

type key struct{}

// Off returns a copy of ctx for a call whose refusal must not be delayed.
func Off(ctx context.Context) context.Context { return context.WithValue(ctx, key{}, true) }

// IsOff reports whether ctx comes from [Off].
func IsOff(ctx context.Context) bool { return ctx.Value(key{}) != nil }
