package verify

import (
	"strconv"
	"strings"

	"sekisho/internal/evidence"
)

// Status is what is known about an address. The numbers are those of Postfix's
// cache.
type Status uint8

const (
	Deliverable   Status = iota
	Deferred             // the last probe could not find out
	Undeliverable        // the last probe found that there is no such address
	InProgress           // the first probe is under way
)

// String returns the status in the words of package evidence.
func (s Status) String() string {
	return [...]string{
		Deliverable: evidence.Deliverable, Deferred: evidence.Deferred,
		Undeliverable: evidence.Undeliverable, InProgress: evidence.InProgress,
	}[s]
}

// Entry is what the cache has about one address. Times are seconds since 1970;
// one of the two is set at least.
type Entry struct {
	Status  Status
	Probed  int64  // when the probe that is under way was sent; 0: none is
	Updated int64  // when the last outcome came; 0: none has
	Text    string // the reason, as the delivery agent logged it
}

// inProgress is the text of an address about which nothing is known yet.
const inProgress = "Address verification in progress"

// String returns the entry as it stands in Postfix's cache:
// STATUS:PROBED:UPDATED:TEXT.
func (e Entry) String() string {
	b := append(strconv.AppendUint(nil, uint64(e.Status), 10), ':')
	b = append(strconv.AppendInt(b, e.Probed, 10), ':')
	b = append(strconv.AppendInt(b, e.Updated, 10), ':')
	return string(append(b, e.Text...))
}

// parseEntry reads what String writes.
func parseEntry(s string) (Entry, bool) {
	f := strings.SplitN(s, ":", 4)
	if len(f) != 4 {
		return Entry{}, false
	}
	status, err1 := strconv.ParseUint(f[0], 10, 8)
	probed, err2 := strconv.ParseUint(f[1], 10, 63)
	updated, err3 := strconv.ParseUint(f[2], 10, 63)
	e := Entry{Status(status), int64(probed), int64(updated), f[3]}
	ok := err1 == nil && err2 == nil && err3 == nil && e.Status <= InProgress && (e.Probed != 0 || e.Updated != 0)
	return e, ok
}
