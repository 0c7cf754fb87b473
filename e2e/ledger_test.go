package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// ledger is what the clients of a crash test know: which numbered messages were
// begun, and which of them were acknowledged.
type ledger struct {
	mu    sync.Mutex
	next  int
	acked map[int]bool
}

// begin returns the number of a new message.
func (l *ledger) begin() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	return l.next
}

// acknowledged takes down that the server said 250 to message n.
func (l *ledger) acknowledged(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[n] = true
}

// boxes are the mailboxes of the crash test's site.
var boxes = []string{"ann", "ben"}

// recipients returns the mailboxes that message n goes to; every fourth goes
// to both.
func recipients(n int) []string {
	if n%4 == 0 {
		return boxes
	}
	return boxes[n%2 : n%2+1]
}

// numberHeader begins the part of a delivered message that the client wrote.
const numberHeader = "X-Crash-Number: "

// content returns message n with LF line ends, different in every byte and
// length from other numbers' and the same each time.
func content(n int) []byte {
	random := rand.New(rand.NewPCG(uint64(n), 2505))
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%d\nFrom: <sender@elsewhere.test>\nTo: <both@example.test>\nSubject: crash %d\n"+
		"Date: Thu, 01 Jan 2026 00:00:00 +0000\nMessage-ID: <%d@elsewhere.test>\n\n", numberHeader, n, n, n)
	for range random.IntN(120) {
		line := make([]byte, random.IntN(78))
		for i := range line {
			line[i] = byte(' ' + random.IntN('~'-' '+1))
		}
		if random.IntN(10) == 0 {
			b.WriteByte('.')
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// audit is what became of the messages of a ledger.
type audit struct {
	Begun, Acknowledged int
	Delivered           int // copies, one a message and recipient
	Duplicates          int // copies besides the first
	Unacknowledged      int // copies of messages that were not acknowledged
	Leftovers           int // files in tmp, of deliveries that were cut off
	Lost                []string
	Damaged             []string
}

func (a audit) String() string {
	return fmt.Sprintf("%d messages begun, %d acknowledged; %d copies delivered, %d of them duplicates and %d of messages "+
		"that were not acknowledged; %d left in tmp; %d lost; %d damaged",
		a.Begun, a.Acknowledged, a.Delivered, a.Duplicates, a.Unacknowledged, a.Leftovers, len(a.Lost), len(a.Damaged))
}

// audit compares the Maildirs below dir with what was acknowledged.
func (l *ledger) audit(dir string) (audit, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := audit{Begun: l.next, Acknowledged: len(l.acked)}
	copies := map[string]int{} // by "N to BOX"
	for _, box := range boxes {
		if err := l.auditBox(&a, copies, dir, box); err != nil {
			return a, err
		}
	}
	for n := range l.acked {
		for _, box := range recipients(n) {
			if key := fmt.Sprintf("%d to %s", n, box); copies[key] == 0 {
				a.Lost = append(a.Lost, key)
			}
		}
	}
	slices.Sort(a.Lost)
	return a, nil
}

// auditBox looks at one mailbox.
func (l *ledger) auditBox(a *audit, copies map[string]int, dir, box string) error {
	tmp, err := filepath.Glob(filepath.Join(dir, box, "tmp", "*"))
	if err != nil {
		return err
	}
	a.Leftovers += len(tmp)
	files, err := filepath.Glob(filepath.Join(dir, box, "new", "*"))
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		n, intact := identify(data)
		if !intact || n > l.next || !slices.Contains(recipients(n), box) {
			a.Damaged = append(a.Damaged, file)
			continue
		}
		a.Delivered++
		if !l.acked[n] {
			a.Unacknowledged++
		}
		key := fmt.Sprintf("%d to %s", n, box)
		if copies[key]++; copies[key] > 1 {
			a.Duplicates++
		}
	}
	return nil
}

// identify returns the number of a delivered message, and whether it is whole.
func identify(data []byte) (n int, intact bool) {
	at := bytes.Index(data, []byte("\n"+numberHeader))
	if at < 0 {
		return 0, false
	}
	sent := data[at+1:]
	line, _, _ := strings.Cut(string(sent[len(numberHeader):min(len(sent), len(numberHeader)+20)]), "\n")
	n, err := strconv.Atoi(line)
	return n, err == nil && n > 0 && bytes.Equal(sent, content(n))
}

// TestAuditSeesWhatIsWrong keeps the crash test honest: an acknowledged message
// that is missing for one recipient, a cut one and a strange one are found.
func TestAuditSeesWhatIsWrong(t *testing.T) {
	deliver := func(t *testing.T, dir, box, file string, data []byte) {
		t.Helper()
		folder := filepath.Join(dir, box, "new")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, file), append([]byte("Received: x\n"), data...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name   string
		change func(t *testing.T, dir string)
		want   string
	}{
		{"nothing", func(*testing.T, string) {}, "9 copies delivered, 0 of them duplicates and 2 of messages that were not acknowledged; 0 left in tmp; 0 lost; 0 damaged"},
		{"one recipient's copy is missing", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "ben", "new", "4")); err != nil {
				t.Fatal(err)
			}
		}, "8 copies delivered, 0 of them duplicates and 2 of messages that were not acknowledged; 0 left in tmp; 1 lost; 0 damaged"},
		{"one is cut short", func(t *testing.T, dir string) { deliver(t, dir, "ann", "2", content(2)[:300]) },
			"8 copies delivered, 0 of them duplicates and 2 of messages that were not acknowledged; 0 left in tmp; 1 lost; 1 damaged"},
		{"one comes twice", func(t *testing.T, dir string) { deliver(t, dir, "ann", "2b", content(2)) },
			"10 copies delivered, 1 of them duplicates and 2 of messages that were not acknowledged; 0 left in tmp; 0 lost; 0 damaged"},
		{"one nobody sent", func(t *testing.T, dir string) { deliver(t, dir, "ben", "99", content(99)) },
			"9 copies delivered, 0 of them duplicates and 2 of messages that were not acknowledged; 0 left in tmp; 0 lost; 1 damaged"},
		{"one in the wrong box", func(t *testing.T, dir string) { deliver(t, dir, "ben", "2b", content(2)) },
			"9 copies delivered, 0 of them duplicates and 2 of messages that were not acknowledged; 0 left in tmp; 0 lost; 1 damaged"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			l := &ledger{acked: map[int]bool{}}
			for range 7 {
				n := l.begin()
				if n != 7 {
					l.acknowledged(n)
				}
				for _, box := range recipients(n) {
					deliver(t, dir, box, strconv.Itoa(n), content(n))
				}
			}
			// 1, 3, 5, 7 to ben, 2, 6 to ann, 4 to both, and of 8 only one of two
			// copies; 7 and 8 were not acknowledged.
			l.begin()
			deliver(t, dir, "ann", "8", content(8))
			tt.change(t, dir)
			got, err := l.audit(dir)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(got.String(), tt.want) {
				t.Errorf("got  %s\nwant ... %s", got, tt.want)
			}
		})
	}
}
