"""What system calls do to names: cases of posix.py, in the form of those in posix_table.py."""

NAMES = """
link: counts, and times of the file and the directory
  new f 0644
  mkdir d 0755
  watch f
  watch d
  link f d/g
  changed f
  changed d
  stat f d/g d
  unlink f
  stat d/g
link: errors
  new f 0644
  mkdir d 0755
  link f f
  link f d
  link d e
  link none e
  link f none/e
  link f f/e
  link f/e g
  link f LONGER
  link f LONG
  link f PATHS
  symlink loop loop
  link f loop/g
link: of special files and symbolic links
  mkfifo p 0644
  symlink none l
  link p q
  link l m
  stat p
  lstat l m
link: permissions of the directory
  new f 0666
  mkdir d 0755
  ann link f d/g
  ann link f g
  mkdir e 0700
  ann link f e/g
  ann link e/f g
mkdir: modes, owner, links of the parent
  mkdir p 0777
  watch p
  ann mkdir p/d 0751
  changed p
  stat p p/d
  mkdir p/e 07777
  stat p p/e
mkdir: errors
  new f 0644
  mkdir d 0755
  symlink none l
  mkdir f 0755
  mkdir d 0755
  mkdir l 0755
  mkdir none/d 0755
  mkdir f/d 0755
  mkdir LONG 0755
  mkdir LONGER 0755
  mkdir PATHS 0755
  mkdir . 0755
  mkdir .. 0755
  mkdir d/. 0755
  ann mkdir d/e 0755
  chmod d 0700
  ann mkdir d/e 0755
mkdir: set-group-ID of the parent is inherited
  mkdir p 0777
  chown p root bob
  chmod p 02777
  ann mkdir p/d 0755
  ann new p/f 0644
  ann mkfifo p/q 0644
  ann symlink t p/l
  stat p/d p/f p/q
  lstat p/l
mkdir: the mask of the process
  umask 0027
  mkdir d 0777
  new f 0666
  mkfifo p 0666
  mknod s 0777
  umask 0022
  stat d f p s
mkfifo: kinds, owner, times
  mkdir d 0777
  watch d
  ann mkfifo d/p 0640
  changed d
  ann mknod d/s 0640
  mkchar d/c 0640
  mkblock d/b 0640
  stat d/p d/s d/c d/b
  ann mkchar d/x 0640
mkfifo: errors
  new f 0644
  mkfifo f 0644
  mkfifo f/p 0644
  mkfifo none/p 0644
  mkfifo LONGER 0644
  mkfifo PATHS 0644
  mkdir d 0755
  ann mkfifo d/p 0644
mknod: a regular file
  mknod f 0644
  stat f
  open f w
rename: of files and directories
  new f 0644
  mkdir d 0755
  mkdir e 0755
  watch d
  watch f
  rename f d/g
  changed d
  stat d/g
  watch e
  watch d
  rename d/g e/h
  changed d
  changed e
  rename d e/d
  stat e e/d
  rename e/h e/i
  rename e/i e/i
rename: ctime of the moved
  new f 0644
  watch f
  rename f g
  changed g
  mkdir d 0755
  watch d
  rename d e
  changed e
rename: kinds that replace each other
  new f 0644
  new g 0644
  mkdir d 0755
  mkdir e 0755
  mkdir e/x 0755
  mkfifo p 0644
  symlink f l
  rename f d
  rename d f
  rename d e
  rename e d
  stat d d/x
  rename p f
  stat f
  rename l g
  lstat g
  rename d d/x
  rename d d/x/y
  rename d d
rename: two names of one file
  new f 0644
  link f g
  rename f g
  stat f g
rename: errors
  new f 0644
  mkdir d 0755
  rename none g
  rename f none/g
  rename f/x g
  rename f f/x
  rename d f/x
  rename f LONGER
  rename LONGER f
  rename PATHS f
  rename f PATHS
  rename d/. e
  rename d/.. e
  rename . e
  rename f d/.
  rename d/ e/
  rename f g/
  symlink loop loop
  rename loop/f g
rename: flags
  new f 0644
  mkdir d 0755
  new d/x 0644
  rename2 f d N
  rename2 f g N
  rename2 g none E
  rename2 g d E
  stat d g g/x
  rename2 g d EN
  rename2 d g/y E
  mkdir g/z 0755
  rename2 g/z d E
  stat d g g/z
  rename2 d g X
rename: leaves a whiteout
  new f 0644
  new g 0644
  mkdir d 0755
  mkdir e 0777
  ann new e/f 0644
  rename2 f h W
  stat h
  lstat f
  rename2 h g W
  lstat h g
  rename2 d i W
  lstat d i
  rename2 g none/x W
  ann rename2 e/f e/g W
  lstat e/f e/g
  stat e
  rename2 h j WE
  rename2 g h WN
  rename2 g k WN
  lstat g k
rename: permissions
  mkdir d 0755
  mkdir e 0777
  new d/f 0644
  new e/f 0644
  ann rename d/f g
  ann rename e/f d/g
  ann rename e/f e/g
  chmod d 0700
  ann rename d/f g
  ann rename e/g d/g
rename: a directory needs write permission to change its parent
  mkdir d 0777
  mkdir e 0777
  mkdir d/x 0755
  ann rename d/x e/x
  ann rename d/x d/y
rename: sticky directories
  mkdir d 0777
  chmod d 01777
  ann new d/f 0666
  bob new d/g 0666
  bob rename d/f d/h
  bob rename d/g d/f
  ann rename d/f d/h
  bob rename2 d/g d/h E
  rename d/h d/k
  chown d bob bob
  bob rename d/k d/f
rename: replaces what belongs to others in a sticky directory
  mkdir d 0777
  chmod d 01777
  ann new d/f 0666
  bob new d/g 0666
  new d/h 0666
  bob rename d/g d/h
  bob rename d/h d/g
  bob link d/g d/f
  bob rename d/g d/i
  rename d/h d/f
  stat d/f d/i
rename: mtime of a moved directory, and its parent
  mkdir d 0755
  mkdir d/e 0755
  mkdir g 0755
  watch d/e
  watch d
  watch g
  rename d/e g/e
  changed d
  changed g
  watch g/e
  rename g/e d/e
  changed d/e
  stat d g
  open d/e/.. r
rename: onto an open file, and an empty directory that is in use
  mkdir d 0755
  mkdir e 0755
  within e rename d e
  within e new e/f 0644
rmdir: a directory in use
  mkdir d 0755
  within d rmdir d
  mkdir d 0755
  within d rmdir .
rmdir: links and times of the parent
  mkdir d 0755
  mkdir d/e 0755
  watch d
  rmdir d/e
  changed d
  stat d
rmdir: errors
  new f 0644
  mkdir d 0755
  new d/f 0644
  symlink d l
  rmdir d
  rmdir f
  rmdir l
  rmdir none
  rmdir f/x
  rmdir d/.
  rmdir d/..
  rmdir .
  rmdir LONGER
  rmdir PATHS
  symlink loop loop
  rmdir loop/x
rmdir: permissions and sticky directories
  mkdir d 0755
  mkdir d/e 0777
  ann rmdir d/e
  chmod d 01777
  ann mkdir d/f 0777
  bob rmdir d/f
  ann rmdir d/e
  ann rmdir d/f
symlink: length, owner, mode
  mkdir d 0777
  watch d
  ann symlink target d/l
  changed d
  lstat d/l
  readlink d/l
  readlink d
  symlink PATH m
  symlink PATHS n
  symlink LONGER o
symlink: errors
  new f 0644
  symlink x f
  symlink x none/l
  symlink x f/l
  symlink x LONGER
  mkdir d 0755
  ann symlink x d/l
  symlink EMPTY e
  readlink none
  readlink f
unlink: links and times
  new f 0644
  link f g
  mkdir d 0755
  new d/f 0644
  watch d
  watch g
  unlink d/f
  unlink f
  changed d
  changed g
  stat g
unlink: errors
  mkdir d 0755
  new f 0644
  unlink d
  ann unlink d
  unlink none
  unlink f/x
  unlink f/
  unlink none/x
  unlink LONGER
  unlink PATHS
  symlink loop loop
  unlink loop/x
  unlink loop
  symlink d l
  unlink l
unlink: permissions and sticky directories
  mkdir d 0755
  new d/f 0666
  ann unlink d/f
  chmod d 01777
  bob new d/g 0666
  ann unlink d/g
  ann unlink d/f
  chown d ann ann
  ann unlink d/g
  unlink d/f
unlink: while it is open
  unlinked f
"""
