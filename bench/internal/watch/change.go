package watch

import (
	"fmt"
	"os"
	"path/filepath"
)

// A Change is one way in which files get new content.
type Change struct {
	Name string
	// Set writes version 0 into the empty directory dir.
	Set func(dir string, files []File) error
	// Prepare writes version i beside the current one.
	Prepare func(dir string, i int, files []File) (Steps, error)
}

// Steps are the remaining steps of a prepared change.
type Steps struct {
	Before func() error // runs some time before Show
	Show   func() error // makes the new content visible
	After  func() error // removes the old content soon after Show; see tidying
}

// Kubelet changes files as a kubelet updates a mounted Secret: it makes a new directory,
// and renames a link to it over ..data (pkg/volume/util/atomic_writer.go in kubernetes).
func Kubelet() Change {
	version := func(i int) string { return fmt.Sprintf("..2026_01_01_00_00_00.%d", i) }
	fill := func(dir string, i int, files []File) error {
		if err := os.Mkdir(filepath.Join(dir, version(i)), 0o755); err != nil { //nolint:gosec // as a kubelet does
			return err
		}
		if err := write(filepath.Join(dir, version(i)), files, ""); err != nil {
			return err
		}
		return os.Symlink(version(i), filepath.Join(dir, "..data_tmp"))
	}
	show := func(dir string) error {
		return os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data"))
	}
	return Change{
		Name: "kubelet swap",
		Set: func(dir string, files []File) error {
			if err := fill(dir, 0, files); err != nil {
				return err
			}
			if err := show(dir); err != nil {
				return err
			}
			for _, f := range files {
				if err := os.Symlink(filepath.Join("..data", f.Name), filepath.Join(dir, f.Name)); err != nil {
					return err
				}
			}
			return nil
		},
		Prepare: func(dir string, i int, files []File) (Steps, error) {
			old, err := os.Readlink(filepath.Join(dir, "..data"))
			if err != nil {
				return Steps{}, err
			}
			return Steps{
				Before: done,
				Show:   func() error { return show(dir) },
				After:  func() error { return os.RemoveAll(filepath.Join(dir, old)) },
			}, fill(dir, i, files)
		},
	}
}

func done() error { return nil }

// Rename renames a new file over the old one.
func Rename() Change { return replacing("renamed over", func(string) error { return nil }) }

// Recreate removes the old file, and later renames a new one to its name.
func Recreate() Change { return replacing("deleted, then created again", os.Remove) }

func replacing(name string, before func(path string) error) Change {
	return Change{
		Name: name,
		Set:  func(dir string, files []File) error { return write(dir, files, "") },
		Prepare: func(dir string, _ int, files []File) (Steps, error) {
			path := filepath.Join(dir, files[0].Name)
			return Steps{
				Before: func() error { return before(path) },
				Show:   func() error { return os.Rename(path+".new", path) },
				After:  done,
			}, write(dir, files[:1], ".new")
		},
	}
}

func write(dir string, files []File, suffix string) error {
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.Name+suffix), f.Data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// A Flip switches ..data of a kubelet's mount from one existing version to the next. A
// switch costs two system calls.
type Flip struct {
	dir string
	i   int
}

// flips is the number of versions.
const flips = 7

// NewFlip adds the versions beside version 0, which the Set of [Kubelet] wrote.
func NewFlip(dir string, files func(i int) ([]File, error)) (*Flip, error) {
	for i := 1; i <= flips; i++ {
		some, err := files(i)
		if err != nil {
			return nil, err
		}
		path := filepath.Join(dir, fmt.Sprintf("..version-%d", i))
		if err := os.Mkdir(path, 0o755); err != nil { //nolint:gosec // as a kubelet does
			return nil, err
		}
		if err := write(path, some, ""); err != nil {
			return nil, err
		}
	}
	return &Flip{dir: dir}, nil
}

// Next makes the next version visible.
func (f *Flip) Next() error {
	f.i = f.i%flips + 1
	if err := os.Symlink(fmt.Sprintf("..version-%d", f.i), filepath.Join(f.dir, "..data_tmp")); err != nil {
		return err
	}
	return os.Rename(filepath.Join(f.dir, "..data_tmp"), filepath.Join(f.dir, "..data"))
}
