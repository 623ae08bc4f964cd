// Package reload keeps a value up to date with a source: a file, a directory
// such as a mounted Kubernetes Secret, a key of an env file, or any other
// [Source]. The last good value stays in place until new content was read
// completely and accepted.
//
// [Open] reads the source into a [Content] and passes it to a [Step], a function
// of the caller that parses it and returns the new state. [Value.Load] returns
// that state: one atomic load. A Step that returns an error keeps the previous
// state. [Value.Run] follows the changes of the source; [Value.Updated] returns a
// channel that is closed when there is a new state.
//
// # How changes are found
//
// [Value.Run] reads the source after a file system event and at every poll.
// Events and polls only say when to read; the content decides whether something
// changed. Events alone are not enough: a watch is lost when its directory is
// replaced, the kernel's queue can overflow, and some file systems send no
// events (inotify(7), "Limitations and caveats"). Polling alone is slow.
//
// # When changed content is accepted
//
// A reader can catch a file while a program writes to it, and half of a token can
// be a valid shorter token. How soon changed content is accepted depends on how it
// became visible:
//
//	what changed since the accepted content               accepted
//	a symlink on the path has a new target                at once
//	an event reports a new file, and none a write to it   after 2 ms
//	anything else                                         after Options.Debounce without a change
//
// The first case is how the kubelet updates a volume: it swaps the symlink
// `..data` (https://kubernetes.io/docs/concepts/configuration/secret/). The second
// is a rename over the file. A new file that was found by a poll, or was first read
// empty or refused, or appeared while events were lost, counts as "anything
// else". The content of a directory or of several files is accepted when the
// slowest of its changed keys is.
//
// A symlink is trusted: retargeting it to a file that is still being written
// publishes half of the file.
package reload
