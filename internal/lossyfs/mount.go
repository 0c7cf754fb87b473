package lossyfs

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Mount makes the disk the directory dir, until unmount is called, which fails
// while files are open. Every user may use it. It needs root and /dev/fuse.
func (d *Disk) Mount(dir string) (unmount func() error, err error) {
	none := time.Duration(0)
	m := &mounted{disk: d}
	_, err = fs.Mount(dir, &node{mounted: m, o: d.root}, &fs.Options{
		EntryTimeout: &none, AttrTimeout: &none,
		MountOptions: fuse.MountOptions{DirectMountStrict: true, AllowOther: true, FsName: "lossyfs", Name: "lossyfs", DisableXAttrs: true, MaxWrite: 256 << 10},
	})
	if err != nil {
		return nil, fmt.Errorf("mount lossyfs on %s: %w", dir, err)
	}
	// The server is not waited for: a mount namespace that was made meanwhile has
	// the file system as well, for as long as it lives.
	return func() error {
		if err := syscall.Unmount(dir, 0); err != nil {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		m.over = true
		return nil
	}, nil
}

// mounted is a disk while it is mounted.
type mounted struct {
	disk *Disk
	over bool // guarded by disk.mu
}

// node is an object while the disk is mounted.
type node struct {
	fs.Inode
	*mounted
	o *object
}

var _ interface {
	fs.NodeLookuper
	fs.NodeGetattrer
	fs.NodeSetattrer
	fs.NodeMkdirer
	fs.NodeCreater
	fs.NodeOpener
	fs.NodeReader
	fs.NodeWriter
	fs.NodeFsyncer
	fs.NodeAllocater
	fs.NodeRenamer
	fs.NodeUnlinker
	fs.NodeRmdirer
	fs.NodeReaddirer
	fs.NodeStatfser
} = (*node)(nil)

// lock locks the disk until the function it returns is called. When the disk is
// not mounted any more it is not the disk that whoever still sees it gets to
// see.
func (n *node) lock() func() {
	n.disk.mu.Lock()
	if n.over {
		n.o = n.disk.dir(0)
	}
	return n.disk.mu.Unlock
}

func (o *object) kind() uint32 {
	if o.isDir() {
		return syscall.S_IFDIR
	}
	return syscall.S_IFREG
}

func (o *object) attr(a *fuse.Attr) {
	a.Ino, a.Mode, a.Size, a.Nlink = o.number, o.kind()|o.mode, uint64(len(o.data)), 1
	a.Blocks = (a.Size + 511) / 512
	a.SetTimes(nil, &o.modified, &o.modified)
}

func (n *node) child(ctx context.Context, o *object, out *fuse.EntryOut) *fs.Inode {
	o.attr(&out.Attr)
	return n.NewInode(ctx, &node{mounted: n.mounted, o: o}, fs.StableAttr{Mode: o.kind(), Ino: o.number})
}

// Lookup finds a name.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	defer n.lock()()
	o := n.o.names[name]
	if o == nil {
		return nil, syscall.ENOENT
	}
	return n.child(ctx, o, out), 0
}

// Getattr tells about an object.
func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	defer n.lock()()
	n.o.attr(&out.Attr)
	return 0
}

// Setattr changes length, mode and time.
func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	defer n.lock()()
	if n.disk.refuse != 0 {
		return n.disk.refuse
	}
	if size, ok := in.GetSize(); ok {
		n.o.truncate(int64(size))
	}
	if mode, ok := in.GetMode(); ok {
		n.o.mode = mode & 0o7777
	}
	if t, ok := in.GetMTime(); ok {
		n.o.modified = t
	}
	n.o.attr(&out.Attr)
	return 0
}

// Mkdir makes a directory.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	defer n.lock()()
	if n.disk.refuse != 0 {
		return nil, n.disk.refuse
	}
	if n.o.names[name] != nil {
		return nil, syscall.EEXIST
	}
	o := n.disk.dir(mode)
	n.o.set(name, o)
	return n.child(ctx, o, out), 0
}

// Create makes and opens a file.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	defer n.lock()()
	if n.disk.refuse != 0 {
		return nil, nil, 0, n.disk.refuse
	}
	o := n.o.names[name]
	if o != nil && flags&syscall.O_EXCL != 0 {
		return nil, nil, 0, syscall.EEXIST
	}
	if o == nil {
		o = n.disk.file(mode)
		n.o.set(name, o)
	}
	return n.child(ctx, o, out), nil, fuse.FOPEN_DIRECT_IO, 0
}

// Open opens a file. Nothing is cached.
func (n *node) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

// Read reads.
func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	defer n.lock()()
	if off >= int64(len(n.o.data)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, n.o.data[off:])]), 0
}

// Write writes.
func (n *node) Write(_ context.Context, _ fs.FileHandle, p []byte, off int64) (uint32, syscall.Errno) {
	defer n.lock()()
	if n.disk.refuse != 0 {
		return 0, n.disk.refuse
	}
	n.o.write(p, off)
	return uint32(len(p)), 0
}

// Fsync makes a file or a directory durable.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	defer n.lock()()
	if n.disk.refuse != 0 {
		return n.disk.refuse
	}
	n.o.sync()
	return 0
}

// Allocate makes a file longer.
func (n *node) Allocate(_ context.Context, _ fs.FileHandle, off, size uint64, mode uint32) syscall.Errno {
	defer n.lock()()
	if n.disk.refuse != 0 {
		return n.disk.refuse
	}
	if mode != 0 {
		return syscall.EOPNOTSUPP
	}
	if end := int64(off + size); end > int64(len(n.o.data)) {
		n.o.truncate(end)
	}
	return 0
}

// Rename gives another name.
func (n *node) Rename(_ context.Context, name string, parent fs.InodeEmbedder, to string, flags uint32) syscall.Errno {
	defer n.lock()()
	if n.disk.refuse != 0 {
		return n.disk.refuse
	}
	target := parent.(*node).o
	switch {
	case n.o.names[name] == nil:
		return syscall.ENOENT
	case flags&^1 != 0: // RENAME_NOREPLACE
		return syscall.EINVAL
	case flags == 1 && target.names[to] != nil:
		return syscall.EEXIST
	}
	o := n.o.names[name]
	n.o.set(name, nil)
	target.set(to, o)
	return 0
}

// Unlink takes a name away.
func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	defer n.lock()()
	if n.disk.refuse != 0 {
		return n.disk.refuse
	}
	if n.o.names[name] == nil {
		return syscall.ENOENT
	}
	n.o.set(name, nil)
	return 0
}

// Rmdir removes an empty directory.
func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	defer n.lock()()
	if n.disk.refuse != 0 {
		return n.disk.refuse
	}
	o := n.o.names[name]
	switch {
	case o == nil:
		return syscall.ENOENT
	case len(o.names) > 0:
		return syscall.ENOTEMPTY
	}
	n.o.set(name, nil)
	return 0
}

// Readdir lists a directory.
func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	defer n.lock()()
	var list []fuse.DirEntry
	for name, o := range n.o.names {
		list = append(list, fuse.DirEntry{Name: name, Mode: o.kind(), Ino: o.number})
	}
	return fs.NewListDirStream(list), 0
}

// Statfs says that there is room.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.Bsize, out.Blocks, out.Bfree, out.Bavail = 4096, 1<<20, 1<<19, 1<<19
	return 0
}
