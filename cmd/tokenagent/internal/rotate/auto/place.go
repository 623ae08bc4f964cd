package auto

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/kube"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/content"
	"github.com/tokenagent/tokenagent/cmd/tokenagent/internal/rotate/store"
)

// A place is where the targets are.
type place interface {
	// read returns the targets as they are, in an order that is always the same.
	read(ctx context.Context) ([]Target, error)
	// write makes the writes and sets the mark. It returns the target as it is then. The error
	// is a conflict if the target has changed since it was read. With dry it only checks.
	write(ctx context.Context, t Target, writes []content.Write, m Mark, dry bool) (Target, error)
	// now is the time that deadlines count by.
	now() time.Time
}

// isConflict reports whether a target has changed since it was read.
func isConflict(err error) bool {
	return kube.Is(err, kube.Conflict) || errors.Is(err, store.ErrChanged)
}

// atOnce is how many requests are sent at the same time.
const atOnce = 8

// each calls do for 0 to n-1, several at the same time, until one fails, and returns the first
// error.
func each(n int, do func(i int) error) (first error) {
	var all sync.WaitGroup
	free := make(chan error, atOnce) // what those have returned that are over
	for range atOnce {
		free <- nil
	}
	started := 0
	for ; started < n && first == nil; started++ {
		if first = <-free; first == nil {
			i := started
			all.Go(func() { free <- do(i) })
		}
	}
	all.Wait()
	close(free)
	for err := range free {
		if first == nil {
			first = err
		}
	}
	return first
}

// A SecretName names a Secret.
type SecretName struct{ Namespace, Name string }

// Secrets are the Secrets of a cluster that are rotated.
type Secrets struct {
	Client     *kube.Client
	Named      []SecretName
	Selector   string   // of labels, in addition to Named; "" for none
	Namespaces []string // of Selector; empty means all
	Read       content.Options
}

func (s *Secrets) now() time.Time { return s.Client.Now() }

func (s *Secrets) read(ctx context.Context) ([]Target, error) {
	named := make([]kube.Secret, len(s.Named))
	err := each(len(s.Named), func(i int) (err error) {
		named[i], err = s.Client.Secret(ctx, s.Named[i].Namespace, s.Named[i].Name)
		return err
	})
	all := slices.Clone(named)
	namespaces := s.Namespaces
	if s.Selector != "" && len(namespaces) == 0 {
		namespaces = []string{""}
	}
	for _, ns := range namespaces {
		if err != nil {
			break
		}
		var found []kube.Secret
		found, err = s.Client.Secrets(ctx, ns, s.Selector)
		all = append(all, found...)
	}
	if err != nil {
		return nil, err
	}
	name := func(s kube.Secret) string { return s.Namespace + "/" + s.Name }
	slices.SortFunc(all, func(a, b kube.Secret) int { return strings.Compare(name(a), name(b)) })
	all = slices.CompactFunc(all, func(a, b kube.Secret) bool { return name(a) == name(b) })
	if len(all) == 0 {
		return nil, errors.New("no Secret has these labels; check --selector and the namespace")
	}
	targets := make([]Target, len(all))
	for i, secret := range all {
		if targets[i], err = s.target(secret); err != nil {
			return nil, err
		}
	}
	return targets, nil
}

// A secret is a Secret with its text parsed.
type secret struct {
	kube.Secret
	*store.Remote
}

func (s *Secrets) target(is kube.Secret) (Target, error) {
	r, err := store.ParseRemote(is.JSON, s.Read)
	if err != nil {
		return Target{}, err
	}
	mark := parseMarks(r.Annotation(Annotation)).of(r.Source())
	return Target{Namespace: is.Namespace, Source: r.Source(), Mark: mark, written: secret{is, r}}, nil
}

func (s *Secrets) write(ctx context.Context, t Target, writes []content.Write, m Mark, dry bool) (Target, error) {
	was := t.written.(secret)
	mark, err := json.Marshal(parseMarks(was.Annotation(Annotation)).with(t.Source, m))
	if err != nil {
		return t, err
	}
	next := kube.Secret{Namespace: was.Namespace, Name: was.Name}
	if next.JSON, err = was.Edit(writes, Annotation, string(mark)); err != nil {
		return t, err
	}
	if next, err = s.Client.Replace(ctx, next, dry); err != nil || dry {
		return t, err
	}
	return s.target(next)
}

// A Path is a file or a directory that is rotated. Its mark is lost when the program ends.
type Path struct {
	Name string
	Read content.Options
	mark Mark
}

func (*Path) now() time.Time { return time.Now() }

func (p *Path) read(ctx context.Context) ([]Target, error) {
	opened, err := store.Open(ctx, store.Options{Path: p.Name, Change: true, Read: p.Read})
	if err != nil {
		return nil, err
	}
	source := opened.Sources()[0]
	return []Target{{Source: source, Mark: p.mark.of(source.Content), written: opened}}, nil
}

func (p *Path) write(ctx context.Context, t Target, writes []content.Write, m Mark, dry bool) (Target, error) {
	if dry {
		return t, nil
	}
	if len(writes) > 0 {
		if err := t.written.(store.Store).Save(ctx, [][]content.Write{writes}); err != nil {
			return t, err
		}
	}
	p.mark = m
	all, err := p.read(ctx)
	if err != nil {
		return t, err
	}
	return all[0], nil
}
