//go:build !linux

package reload

// fileMount is for Linux alone, where single files get mounted.
func fileMount([]string) string { return "" }
