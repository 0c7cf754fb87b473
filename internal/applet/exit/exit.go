// Package exit lets a command end the program with a status of its own after it
// has said all there is to say.
package exit

import "strconv"

// Status is an exit status as an error. The program ends with it and prints
// nothing more.
type Status int

// Error returns "exit status N".
func (s Status) Error() string { return "exit status " + strconv.Itoa(int(s)) }

// Error returns a status as an error, nil for 0.
func Error(status int) error {
	if status == 0 {
		return nil
	}
	return Status(status)
}
