//go:build !unix

package kubemount

import "errors"

var errReadOnly = errors.ErrUnsupported //nolint:gochecknoglobals // no error of this system matches it

// mountPoint reports false: kubelets with tmpfs mounts run on Linux.
func mountPoint(string) bool { return false }
