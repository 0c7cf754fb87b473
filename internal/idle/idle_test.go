package idle_test

import (
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"sekisho/internal/idle"
)

// pair is a connection over the loopback device, and the socket of its server.
func pair(t *testing.T) (client, server net.Conn, socket syscall.RawConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	socket, err = server.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return client, server, socket
}

func watch(t *testing.T) *idle.Watch {
	t.Helper()
	w, err := idle.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// park parks a connection; what it returns gets a value each time it is woken.
func park(t *testing.T, w *idle.Watch, socket syscall.RawConn, until time.Time) chan int {
	t.Helper()
	woken := make(chan int, 10)
	if err := w.Park(socket, until, func() { woken <- 1 }); err != nil {
		t.Fatal(err)
	}
	return woken
}

func expect(t *testing.T, woken chan int) {
	t.Helper()
	select {
	case <-woken:
	case <-time.After(20 * time.Second):
		t.Fatal("was not woken")
	}
}

func TestWakes(t *testing.T) {
	w := watch(t)
	client, server, socket := pair(t)
	// Others wait meanwhile and are left alone.
	var others []chan int
	for range 20 {
		_, _, s := pair(t)
		others = append(others, park(t, w, s, time.Now().Add(time.Hour)))
	}
	buf := make([]byte, 10)
	for range 3 {
		woken := park(t, w, socket, time.Time{})
		if len(woken) > 0 {
			t.Fatal("woken before anything was sent")
		}
		io.WriteString(client, "x")
		expect(t, woken)
		if n, err := server.Read(buf); n != 1 || err != nil {
			t.Fatalf("read %d bytes, %v", n, err)
		}
	}
	// What is there already wakes at once, and so does the end.
	io.WriteString(client, "x")
	expect(t, park(t, w, socket, time.Time{}))
	server.Read(buf)
	woken := park(t, w, socket, time.Time{})
	client.Close()
	expect(t, woken)
	for _, o := range others {
		if len(o) > 0 {
			t.Error("a silent connection was woken")
		}
	}
}

func TestTime(t *testing.T) {
	w := watch(t)
	_, _, socket := pair(t)
	expect(t, park(t, w, socket, time.Now().Add(time.Millisecond)))
	expect(t, park(t, w, socket, time.Now().Add(-time.Second)))
}

func TestDrain(t *testing.T) {
	w := watch(t)
	_, _, socket := pair(t)
	woken := park(t, w, socket, time.Now().Add(time.Hour))
	w.Drain()
	expect(t, woken)
	expect(t, park(t, w, socket, time.Time{}))
	if len(woken) > 0 {
		t.Error("woken twice")
	}
}

func TestClosedConnectionIsNotParked(t *testing.T) {
	w := watch(t)
	_, server, socket := pair(t)
	server.Close()
	if err := w.Park(socket, time.Time{}, func() { t.Error("woken") }); err == nil {
		t.Error("no error")
	}
}
