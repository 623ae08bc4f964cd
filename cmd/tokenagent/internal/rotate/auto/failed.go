package auto

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube"
)

// Bounds of a report of a failure. An API server that does not answer must not keep run.
const (
	tellFor    = 10 * time.Second
	maxMessage = 1024 // bytes, as in events.k8s.io/v1
)

// tellFailed creates a Warning Event on each Secret, with why run stops. If it cannot, nothing
// is lost. Each failure of a rotation has an Event of its own.
func (r *Runner) tellFailed(ctx context.Context, why error) {
	if r.DryRun {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tellFor)
	defer cancel()
	id := cmp.Or(r.situation.ID, "none")
	message := fmt.Sprintf("rotation %s: %s", id, why)
	message = strings.ToValidUTF8(message[:min(len(message), maxMessage)], "")
	_ = each(len(r.targets), func(i int) error {
		is, ok := r.targets[i].written.(secret)
		if !ok {
			return nil
		}
		return r.Client.Report(ctx, is.Secret, kube.Event{
			Name:    fmt.Sprintf("%s.%s.failed.%x", is.Name, id, r.place.now().Unix()),
			Reason:  "RotationFailed",
			Message: message,
			Warning: true,
		})
	})
}
