package auto

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
)

// Annotation is where a Secret says which rotations it is in: a JSON object with the [Mark] of
// the tokens without a client in its members id, step, since and fingerprint, that of the
// verification keys in its member keys, and those of clients, by their names, in its member
// clients. In the pod template of a workload it is the IDs of the rotations that have
// restarted the workload.
const Annotation = "tokenagent.dev/rotation"

// aborted is a step in a [Mark] that is no Phase: the rotation ended without a new token.
const aborted = "aborted"

// A Mark says in a target which rotation it is in. The zero Mark means none.
type Mark struct {
	ID    string    `json:"id,omitempty"`
	Step  string    `json:"step,omitempty"` // the last one that was done: that of a Phase, or aborted
	Since time.Time `json:"since,omitzero"`
	// Fingerprint is that of the new token, or of the current one after an abort. It is "" in
	// a mark of a tokenagent that wrote none.
	Fingerprint string `json:"fingerprint,omitempty"`
}

// isOpen reports whether the rotation is under way.
func (m Mark) isOpen() bool { return m.Step == Staged.String() || m.Step == Promoted.String() }

// of returns m if it is complete and the rotation has led to c, and otherwise the zero Mark:
// somebody has rotated by hand since.
func (m Mark) of(c content.Content) Mark {
	isStep := m.isOpen() || m.Step == Retired.String() || m.Step == aborted
	if m.ID == "" || !isStep || m.Since.IsZero() {
		return Mark{}
	}
	declared := []content.Credential{c.Current}
	if m.Step == Staged.String() {
		declared = append(declared, c.Next...)
	}
	if m.Fingerprint != "" && !slices.ContainsFunc(declared, func(v content.Credential) bool { return v.Fingerprint() == m.Fingerprint }) {
		return Mark{}
	}
	return m
}

// with returns m for a target that declares c after the step of m.
func (m Mark) with(c content.Content) Mark {
	m.Fingerprint = c.Current.Fingerprint()
	if m.Step == Staged.String() {
		m.Fingerprint = newest(c).Fingerprint()
	}
	return m
}

// marks are the value of the annotation of a Secret.
type marks struct {
	Mark                    // of the tokens without a client
	Keys    Mark            `json:"keys,omitzero"`
	Clients map[string]Mark `json:"clients,omitempty"`
}

// parseMarks parses the value of the annotation. One that is no valid value says nothing.
func parseMarks(text string) marks {
	var m marks
	if json.Unmarshal([]byte(text), &m) != nil {
		return marks{}
	}
	return m
}

// of returns the mark of what s declares.
func (m marks) of(s content.Source) Mark {
	is := m.Mark
	switch {
	case s.Kind == content.Keys:
		is = m.Keys
	case s.Client != "":
		is = m.Clients[s.Client]
	}
	return is.of(s.Content)
}

// with returns m with the mark of what s declares, and without those of clients that s does
// not have.
func (m marks) with(s content.Source, is Mark) marks {
	m.Clients = maps.Clone(m.Clients)
	if s.Kind == content.Tokens {
		has := s.Clients()
		maps.DeleteFunc(m.Clients, func(client string, _ Mark) bool { return !slices.Contains(has, client) })
	}
	switch {
	case s.Kind == content.Keys:
		m.Keys = is
	case s.Client == "":
		m.Mark = is
	default:
		if m.Clients == nil {
			m.Clients = map[string]Mark{}
		}
		m.Clients[s.Client] = is
	}
	return m
}
