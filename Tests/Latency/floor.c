// The least that a FUSE server can do: what there is to be measured against.
//
//   floor MOUNTPOINT SIZE
//
// One directory with one file, `file`, which reads as SIZE bytes and takes whatever is written, in the foreground with one
// thread. As veridianfs does, it speaks the low-level protocol, passes by the page cache, leaves flush unanswered, and lets
// the kernel believe names and attributes for ever: what remains is the kernel's and libfuse's share of a request.
#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const double FOREVER = 1e9;
static const fuse_ino_t FILE_INODE = 2;
static char *content;
static size_t content_size;

static struct stat attributes_of(fuse_ino_t inode)
{
	struct stat attributes;
	memset(&attributes, 0, sizeof attributes);
	attributes.st_ino = inode;
	attributes.st_nlink = 1;
	attributes.st_mode = inode == FILE_INODE ? S_IFREG | 0644 : S_IFDIR | 0755;
	attributes.st_size = 4096;
	return attributes;
}

static void on_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	(void)parent;
	if (strcmp(name, "file") != 0) {
		fuse_reply_err(request, ENOENT);
		return;
	}
	struct fuse_entry_param entry;
	memset(&entry, 0, sizeof entry);
	entry.ino = FILE_INODE;
	entry.attr = attributes_of(FILE_INODE);
	entry.attr_timeout = FOREVER;
	entry.entry_timeout = FOREVER;
	fuse_reply_entry(request, &entry);
}

static void on_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
	(void)info;
	struct stat attributes = attributes_of(inode);
	fuse_reply_attr(request, &attributes, FOREVER);
}

static void on_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
	(void)inode;
	info->direct_io = 1;
	fuse_reply_open(request, info);
}

static void on_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, struct fuse_file_info *info)
{
	(void)inode;
	(void)info;
	size_t start = (size_t)offset < content_size ? (size_t)offset : content_size;
	size_t count = content_size - start < size ? content_size - start : size;
	fuse_reply_buf(request, content + start, count);
}

static void on_write(fuse_req_t request, fuse_ino_t inode, const char *bytes, size_t size, off_t offset,
		     struct fuse_file_info *info)
{
	(void)inode;
	(void)offset;
	(void)info;
	// The bytes are looked at, as any server must.
	memcpy(content, bytes, size < content_size ? size : content_size);
	fuse_reply_write(request, size);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: floor MOUNTPOINT SIZE\n");
		return 64;
	}
	content_size = strtoul(argv[2], NULL, 10);
	content = malloc(content_size);
	if (content == NULL)
		return 1;
	memset(content, '.', content_size);

	const struct fuse_lowlevel_ops operations = {
		.lookup = on_lookup,
		.getattr = on_getattr,
		.open = on_open,
		.read = on_read,
		.write = on_write,
	};
	struct fuse_args arguments = FUSE_ARGS_INIT(0, NULL);
	fuse_opt_add_arg(&arguments, argv[0]);
	struct fuse_session *session = fuse_session_new(&arguments, &operations, sizeof operations, NULL);
	if (session == NULL || fuse_set_signal_handlers(session) != 0 || fuse_session_mount(session, argv[1]) != 0)
		return 1;
	int status = fuse_session_loop(session);
	fuse_session_unmount(session);
	fuse_session_destroy(session);
	fuse_opt_free_args(&arguments);
	return status == 0 ? 0 : 1;
}
