"""What system calls do to modes, owners, times, lengths, attributes: cases of posix.py.

Those that change names are in posix_names.py.

A case is a title, with its area before the colon, and steps in an empty directory that all users
may write to. A step is a call and its arguments; "ann" (in no group of others) and "bob" (in ann's
group, too) before it make the call as that user, otherwise root does. See Runner in posix.py for
the calls. "LONG" is a name of 255 bytes, "LONGER" of 256, "PATH" a path of 4095 bytes, "PATHS" of
more. ext4 says what is right; DIFFERENT has what mpoolfs does otherwise, with the reason.
"""

CASES = """
chmod: mode bits of all kinds
  new f 0644
  mkdir d 0755
  mkfifo p 0644
  watch f
  chmod f 0111
  changed f
  chmod d 0753
  chmod p 07777
  stat f d p
  chmod f 07777
  stat f
chmod: follows symbolic links, and fails without a target
  new f 0644
  symlink f l
  symlink none m
  symlink loop loop
  chmod l 0600
  chmod m 0600
  chmod loop 0600
  stat f
chmod: errors of the path
  new f 0644
  chmod f/x 0600
  chmod none 0600
  chmod none/x 0600
  chmod LONG 0600
  chmod LONGER 0600
  chmod PATH 0600
  chmod PATHS 0600
chmod: only the owner and root
  new f 0644
  chown f ann ann
  ann chmod f 0600
  bob chmod f 0666
  stat f
  mkdir d 0755
  chown d ann ann
  new d/g 0644
  ann chmod d/g 0600
  chmod d 0700
  bob chmod d/g 0600
chmod: set-group-ID is cleared for an owner outside of the group
  new f 0644
  chown f ann root
  ann chmod f 02755
  stat f
  chown f ann ann
  ann chmod f 02755
  stat f
  mkdir d 0755
  chown d ann root
  ann chmod d 02755
  stat d
  ann chmod f 04755
  stat f
chmod: the sticky bit of a file
  ann new f 0644
  ann chmod f 01644
  stat f
  ann mkdir d 0755
  ann chmod d 01777
  stat d
chown: sets owner and group, and leaves out -1
  new f 0644
  watch f
  chown f 123 456
  changed f
  stat f
  chown f -1 789
  chown f 321 -1
  stat f
  watch f
  chown f -1 -1
  changed f
chown: links themselves, and through them
  new f 0644
  symlink f l
  chown l 123 456
  lchown l 7 8
  stat f
  lstat l
  symlink none m
  chown m 1 1
  lchown m 1 1
chown: errors of the path
  new f 0644
  chown f/x 1 1
  chown none 1 1
  chown LONGER 1 1
  chown PATHS 1 1
chown: users may only give files to their groups
  bob new f 0644
  bob chown f -1 ann
  stat f
  bob chown f -1 root
  bob chown f ann -1
  bob chown f root root
  ann chown f -1 ann
  bob chown f bob -1
  stat f
chown: set-ID bits of files are cleared by users and by root
  new f 0644
  chmod f 06755
  chown f 1 1
  stat f
  chmod f 06711
  chown f -1 -1
  stat f
  chmod f 02644
  chown f 2 2
  stat f
  bob new g 0644
  bob chmod g 06755
  bob chown g -1 ann
  stat g
  mkdir d 06755
  chmod d 06755
  chown d 1 1
  stat d
ftruncate: of an empty file, and of a descriptor for reading
  new f 0644
  watch f
  truncate f 100
  changed f
  stat f
  ftruncate f r 0
  ftruncate f w 200
  stat f
  truncate f -1
truncate: errors
  mkdir d 0755
  mkfifo p 0644
  truncate d 0
  truncate p 0
  truncate none 0
  truncate none/x 0
  truncate LONGER 0
  symlink loop loop
  truncate loop 0
  new f 0600
  truncate f/x 0
  ann truncate f 0
truncate: of a file without content clears set-ID bits for users
  ann new f 0644
  ann chmod f 06755
  ann truncate f 5
  stat f
  chmod f 06755
  truncate f 7
  stat f
truncate: of a file with content
  write f data
  truncate f 0
  truncate f 2
  stat f
truncate: of a file that is appended to
  append f data
  truncate f 2
  truncate f 0
  stat f
truncate: to lengths that no file has
  new f 0644
  truncate f 9223372036854775807
  truncate f 4611686018427387904
  truncate f 1099511627776
  stat f
  fallocate f 0 0
  fallocate f -1 5
  fallocate f 5 9223372036854775807
  fallocate f 0 4611686018427387904
open: creating, and its mode
  ann open f wc 0642
  stat f
  open f wcx 0644
  open g wc 07777
  stat g
  mkdir d 0777
  watch d
  open d/f wc 0644
  changed d
  watch d
  open d/f wc 0644
  changed d
open: kinds and flags
  mkdir d 0755
  new f 0644
  symlink f l
  symlink none m
  symlink loop loop
  mknod s 0644
  open d r
  open d w
  open d rw
  open d wc 0644
  open d rD
  open f rD
  open l r
  open l rN
  open m r
  open m wcx 0644
  open m wc 0644
  stat none
  open loop r
  open s r
  open f/x r
  open f/x wc 0644
  open none/x wc 0644
  open LONGER wc 0644
  open PATHS r
open: a directory that is to be created
  mkdir d 0755
  new f 0644
  open d rcD 0755
  open e rcD 0755
  open f rcD 0755
  open d/ wc 0644
  open e/ wc 0644
  open f/ r
open: access that is not asked for
  mkdir d 0333
  chown d ann ann
  ann new d/f 0222
  ann open d r
  ann open d/f r
  ann open d/f w
  ann open d/f rw
  ann stat d/f
  ann unlink d/f
open: a fifo without a reader, without blocking
  mkfifo p 0644
  open p wn
  open p rn
open: permissions
  write f data
  chmod f 0640
  chown f ann bob
  ann open f r
  bob open f r
  ann open none r
  chmod f 0004
  ann open f r
  bob open f r
  mkdir d 0700
  ann open d/f r
  ann open d r
  mkdir e 0755
  ann open e/f wc 0644
  chmod d 0711
  ann open d r
  new d/f 0644
  ann open d/f r
  ann open d/g r
open: O_TRUNC of an empty file
  ann new f 0644
  ann truncate f 10
  watch f
  ann open f wt
  changed f
  stat f
  ann chmod f 0444
  ann open f wt
open: O_TRUNC without permission
  new f 0644
  ann open f wt
  ann open f rt
open: for writing again what has content
  write f data
  open f w
  open f wa
  open f wt
  open f wc 0644
  open f wcx 0644
  stat f
open: a program that runs
  program f
  running f w
  running f r
open: O_NOATIME only for owners
  write f data
  chmod f 0644
  ann open f rA
  open f rA
utimensat: given times
  new f 0644
  watch f
  utime f 1.000000002 3.000000004
  changed f
  times f
  utime f -1.5 -2.25
  times f
  utime f 4294967299.5 4294967300.5
  times f
utimensat: NOW and OMIT
  new f 0644
  utime f 1 2
  watch f
  utime f OMIT 3
  changed f
  times f
  watch f
  utime f OMIT OMIT
  changed f
  watch f
  utime f NOW OMIT
  changed f
  watch f
  utime f OMIT NOW
  changed f
utimensat: permissions
  new f 0666
  new g 0644
  ann utime f NOW NOW
  ann utime f OMIT OMIT
  ann utime f 1 2
  ann utime f NOW OMIT
  ann utime f OMIT NOW
  ann utime g NOW NOW
  ann utime g OMIT OMIT
  chown g ann ann
  chmod g 0000
  ann utime g 1 2
  ann utime g NOW NOW
  ann utime g OMIT NOW
utimensat: kinds, links and errors
  mkdir d 0755
  mkfifo p 0644
  symlink none l
  utime d 1 2
  utime p 1 2
  times d
  times p
  utime l 1 2
  lutime l 1 2
  times l
  utime none 1 2
  utime p/x 1 2
  utime LONGER 1 2
times: a write, and what set-ID bits survive it
  ann new f 0644
  ann chmod f 06777
  watch f
  bob wrote f
  changed f
  stat f
  ann new g 0644
  ann chmod g 06777
  wrote g
  stat g
  ann new h 0644
  ann chmod h 02766
  bob wrote h
  stat h
times: an append
  append f one
  watch f
  append f two
  changed f
  stat f
xattr: names and values
  new f 0644
  mkdir d 0755
  watch f
  setxattr f user.a one
  changed f
  setxattr f user.a two C
  setxattr f user.b two R
  setxattr f user.a two R
  getxattr f user.a
  getxattr f user.b
  removexattr f user.b
  removexattr f user.a
  listxattr f
  setxattr d user.a x
  listxattr d
  setxattr f user. x
  setxattr f none.a x
  setxattr f user.LONG x
xattr: sizes
  new f 0644
  setxattr f user.a EMPTY
  getxattr f user.a
  setxattr f user.a EMPTY C
  setxattr f user.LONGER x
  mkfifo p 0666
  ann getxattr p user.a
  getxattr none user.a
  setxattr none user.a x
  removexattr f trusted.a
xattr: permissions
  new f 0644
  mkfifo p 0666
  symlink f l
  ann setxattr f user.a x
  ann getxattr f user.a
  chmod f 0600
  ann getxattr f user.a
  setxattr p user.a x
  lsetxattr l user.a x
  mkdir d 0777
  chmod d 01777
  ann setxattr d user.a x
access: for users and root
  new f 0640
  mkdir d 0750
  chown f ann bob
  ann access f r
  ann access f w
  ann access f x
  bob access f r
  bob access f w
  access f w
  access f x
  access d x
  ann access d x
  ann access none f
"""

READ_ONLY = """
changes of a file system that is mounted read-only
  new f 0666
  new g 0666
  mkdir d 0777
  symlink f l
  setxattr f user.a x
  remount
  new h 0644
  open f w
  open f r
  open f wt
  open h wc 0644
  open f wcx 0644
  mkdir e 0755
  mkdir d 0755
  rmdir d
  rmdir none
  unlink f
  unlink none
  link f h
  symlink f m
  symlink f l
  rename f g
  rename f h
  rename none h
  rename2 f g E
  chmod f 0600
  ann chmod f 0600
  chown f 1 1
  truncate f 0
  utime f 1 2
  ann utime f NOW NOW
  mkfifo p 0644
  setxattr f user.b x
  removexattr f user.a
  getxattr f user.a
  access f w
  access f r
"""

IMMUTABLE = "content that was committed never changes"
LOG = "a log is emptied or grows, nothing else"
LENGTHS = "a declared length takes no space: it may be any"
NAMES = "only attributes of users are kept"
GROUPS = "the daemon does not know the further groups of a caller: it clears the bit"

# (title, step) -> (what mpoolfs answers instead, the reason).
DIFFERENT = {
    ("truncate: of a file with content", "truncate f 0"): ("EACCES", IMMUTABLE),
    ("truncate: of a file with content", "truncate f 2"): ("EACCES", IMMUTABLE),
    ("truncate: of a file with content", "stat f"): (["-rw-r--r-- 1 root root 4 0:0"], IMMUTABLE),
    ("truncate: of a file that is appended to", "truncate f 2"): ("EPERM", LOG),
    ("truncate: to lengths that no file has", "truncate f 9223372036854775807"): (None, LENGTHS),
    ("truncate: to lengths that no file has", "truncate f 4611686018427387904"): (None, LENGTHS),
    ("truncate: to lengths that no file has", "fallocate f 0 4611686018427387904"): ("ENOSPC", LENGTHS),
    ("xattr: sizes", "removexattr f trusted.a"): ("ENOTSUP", NAMES),
    ("open: for writing again what has content", "open f w"): ("EACCES", IMMUTABLE),
    ("open: for writing again what has content", "open f wa"): ("EACCES", IMMUTABLE),
    ("open: for writing again what has content", "open f wt"): ("EACCES", IMMUTABLE),
    ("open: for writing again what has content", "open f wc 0644"): ("EACCES", IMMUTABLE),
    ("open: for writing again what has content", "stat f"): (["-rw-r--r-- 1 root root 4 0:0"], IMMUTABLE),
    ("times: a write, and what set-ID bits survive it", "stat h"): (["-rwxrw-rw- 1 ann ann 4 0:0"], GROUPS),
}
