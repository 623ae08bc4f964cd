package rotate

import (
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/auto"
)

// WholeSteps puts the steps of a whole rotation with the overlap into o, as the command does.
func WholeSteps(o *auto.Options, overlap time.Duration) {
	w := &whole{request: &request{options: options{slot: slotPrevious}, overlap: overlap, idle: unset}}
	o.Overlap = overlap
	o.Step, o.BeforeStage = w.step, w.savePrivate
}
