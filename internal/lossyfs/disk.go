package lossyfs

import (
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

const sector = 512

// Disk is the medium. It may be mounted once at a time.
type Disk struct {
	mu     sync.Mutex
	root   *object
	last   uint64        // number of the last object
	refuse syscall.Errno // of every change
}

// Refuse lets every change and every sync fail with an error, such as EROFS,
// until it is called with 0.
func (d *Disk) Refuse(why syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuse = why
}

// object is a file or a directory.
type object struct {
	number   uint64
	mode     uint32 // of the file's permissions
	modified time.Time

	data    []byte // of a file, as programs see it
	durable []byte // as it was when it was synced
	writes  []write

	names        map[string]*object // of a directory, as programs see it
	durableNames map[string]*object
	renames      []naming
}

// write is a change of a file since its last sync.
type write struct {
	at   int64
	data []byte
	size int64 // the file's new length, if data is nil
}

// naming is a change of a directory since its last sync: a name that was given,
// or with nil taken away.
type naming struct {
	name string
	to   *object
}

// NewDisk returns an empty disk.
func NewDisk() *Disk {
	d := &Disk{}
	d.root = d.dir(0o755)
	return d
}

func (d *Disk) file(mode uint32) *object {
	d.last++
	return &object{number: d.last, mode: mode & 0o7777, modified: time.Now()}
}

func (d *Disk) dir(mode uint32) *object {
	o := d.file(mode)
	o.names, o.durableNames = map[string]*object{}, map[string]*object{}
	return o
}

func (o *object) isDir() bool { return o.names != nil }

// set gives or takes away a name.
func (o *object) set(name string, to *object) {
	o.renames = append(o.renames, naming{name, to})
	apply(o.names, naming{name, to})
}

func apply(names map[string]*object, n naming) {
	if n.to == nil {
		delete(names, n.name)
	} else {
		names[n.name] = n.to
	}
}

func (o *object) write(p []byte, at int64) {
	o.modified = time.Now()
	p = append([]byte(nil), p...)
	o.writes = append(o.writes, write{at: at, data: p})
	o.data = put(o.data, p, at)
}

func (o *object) truncate(size int64) {
	o.modified = time.Now()
	o.writes = append(o.writes, write{size: size})
	o.data = resize(o.data, size)
}

// put writes p into b, which grows as needed.
func put(b, p []byte, at int64) []byte {
	if end := at + int64(len(p)); end > int64(len(b)) {
		b = resize(b, end)
	}
	copy(b[at:], p)
	return b
}

func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size:size] // what grows it again must not see what was there
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

// sync makes an object durable.
func (o *object) sync() {
	if o.isDir() {
		for _, n := range o.renames {
			apply(o.durableNames, n)
		}
		o.renames = nil
		return
	}
	for _, w := range o.writes {
		o.durable = w.into(o.durable)
	}
	o.writes = nil
}

func (w write) into(b []byte) []byte {
	if w.data == nil {
		return resize(b, w.size)
	}
	return put(b, w.data, w.at)
}

// Lost says what a power failure has destroyed.
type Lost struct {
	Sectors, Torn, Lengths, Names int // that were not synced and are not there
	Kept                          int // of all these, that were not synced and are
}

// Lose lets the disk lose power. Nothing may be mounted. How much of what was
// not synced survives is different each time.
func (d *Disk) Lose(r *rand.Rand) Lost {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := &loss{r: r, survive: r.Float64(), seen: map[*object]bool{}}
	switch r.IntN(4) {
	case 0:
		l.survive = 0
	case 1:
		l.survive = 0.9 + 0.1*r.Float64()
	}
	l.object(d.root)
	return l.Lost
}

// loss is a power failure.
type loss struct {
	Lost
	r       *rand.Rand
	survive float64 // chance of what was not synced
	seen    map[*object]bool
}

// kept decides whether one thing survives.
func (l *loss) kept(lost *int) bool {
	if l.r.Float64() < l.survive {
		l.Kept++
		return true
	}
	*lost++
	return false
}

func (l *loss) object(o *object) {
	if l.seen[o] {
		return
	}
	l.seen[o] = true
	if !o.isDir() {
		l.file(o)
		return
	}
	for _, n := range o.renames {
		if l.kept(&l.Names) {
			apply(o.durableNames, n)
		}
	}
	o.renames = nil
	o.names = map[string]*object{}
	for name, to := range o.durableNames {
		o.names[name] = to
		l.object(to)
	}
}

func (l *loss) file(o *object) {
	for _, w := range o.writes {
		if w.data == nil {
			if l.kept(&l.Lengths) {
				o.durable = resize(o.durable, w.size)
			}
			continue
		}
		l.sectors(o, w)
	}
	o.writes = nil
	o.data = append([]byte(nil), o.durable...)
}

// sectors writes each sector of a write, or not.
func (l *loss) sectors(o *object, w write) {
	for p, at := w.data, w.at; len(p) > 0; {
		n := min(int(sector-at%sector), len(p))
		switch {
		case l.r.IntN(20) == 0:
			l.Torn++
			o.durable = put(o.durable, p[:l.r.IntN(n)], at)
		case l.kept(&l.Sectors):
			o.durable = put(o.durable, p[:n], at)
		}
		p, at = p[n:], at+int64(n)
	}
}
