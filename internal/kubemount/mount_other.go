//go:build !unix

package kubemount

// mountPoint reports false: kubelets with tmpfs mounts run on Linux.
func mountPoint(string) bool { return false }
