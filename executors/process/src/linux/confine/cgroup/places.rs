//! Where this process may make control groups.
//!
//! Below its own, so that what holds for jobmgr holds for its jobs too. Version 2 lets no group that has processes
//! hand controllers down, other than the first of all; then it is done beside it, if the folder above was handed to
//! jobmgr (systemd: `Delegate=yes` with `DelegateSubgroup=`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How a control group is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

/// A folder in which groups can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub parent: PathBuf,
    pub version: Version,
}

/// What is mounted where, and where in it this process is.
#[derive(Debug, Default)]
pub struct Places {
    /// By controller.
    one: BTreeMap<String, PathBuf>,
    /// This process's own group, and the first one that it can see.
    two: Option<(PathBuf, PathBuf)>,
}

impl Places {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        Self::read(Path::new("/"))
    }

    /// Those that the files below `root` tell of.
    pub fn read(root: &Path) -> Self {
        let text = |name: &str| std::fs::read_to_string(root.join("proc/self").join(name)).unwrap_or_default();
        let own = text("cgroup");
        let mut places = Places::default();
        for mount in text("mountinfo").lines().filter_map(Mount::parse) {
            let top = root.join(mount.point.trim_matches('/'));
            let path_in = |wanted: &str| own.lines().find_map(|line| own_path(line, wanted));
            if mount.version == Version::Two {
                if let Some(path) = path_in("") {
                    places.two = Some((below(&top, path, &mount.root), top));
                }
                continue;
            }
            for controller in mount.controllers {
                if let Some(path) = path_in(controller) {
                    places.one.insert(controller.to_owned(), below(&top, path, &mount.root));
                }
            }
        }
        places
    }

    /// Where a group with this controller can be made.
    ///
    /// # Errors
    /// Why there is no such place.
    pub fn place(&self, controller: &str) -> Result<Place, String> {
        if let Some(parent) = self.one.get(controller) {
            return Ok(Place { parent: parent.clone(), version: Version::One });
        }
        let Some((own, top)) = &self.two else {
            return Err("no control groups are mounted here".into());
        };
        let above = own.parent().filter(|above| own != top && is_delegated(above));
        let mut why = String::new();
        for parent in [Some(own.as_path()), above].into_iter().flatten() {
            if !has(parent, "cgroup.controllers", controller) {
                why = format!("{} has no controller '{controller}'", parent.display());
                continue;
            }
            match hand_down(parent, controller) {
                Ok(()) => return Ok(Place { parent: parent.to_owned(), version: Version::Two }),
                Err(error) => {
                    let reason = crate::command::reason(&error);
                    why = format!("controller '{controller}' of {}: {reason}", parent.display());
                }
            }
        }
        Err(why)
    }
}

/// Whether one of a file's words is this one.
fn has(group: &Path, file: &str, controller: &str) -> bool {
    let text = std::fs::read_to_string(group.join(file)).unwrap_or_default();
    text.split_ascii_whitespace().any(|word| word == controller)
}

/// Lets groups below this one have the controller.
fn hand_down(group: &Path, controller: &str) -> std::io::Result<()> {
    if has(group, "cgroup.subtree_control", controller) {
        return Ok(());
    }
    std::fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"))
}

/// Whether systemd has handed this group over.
fn is_delegated(group: &Path) -> bool {
    ["user.delegate", "trusted.delegate"].into_iter().any(|name| {
        let mut value = [0; 8];
        rustix::fs::getxattr(group, name, &mut value).is_ok_and(|length| &value[..length] == b"1")
    })
}

/// A mount of control groups.
struct Mount<'t> {
    /// The group that is seen as the first one.
    root: String,
    point: String,
    version: Version,
    controllers: Vec<&'t str>,
}

impl<'t> Mount<'t> {
    /// From a line of `mountinfo`: `31 23 0:28 ROOT POINT OPTIONS - TYPE SOURCE SUPER`, some fields more before the
    /// dash.
    fn parse(line: &'t str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(3);
        let (root, point) = (unescape(front.next()?), unescape(front.next()?));
        let mut back = back.split(' ');
        let version = match back.next()? {
            "cgroup" => Version::One,
            "cgroup2" => Version::Two,
            _ => return None,
        };
        let controllers = back.nth(1).unwrap_or_default().split(',').collect();
        Some(Self { root, point, version, controllers })
    }
}

/// Spaces and the like are written in octal there.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

/// This process's path from a line of `/proc/self/cgroup`: `ID:CONTROLLERS:PATH`, none for version 2.
fn own_path<'t>(line: &'t str, controller: &str) -> Option<&'t str> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    controllers.split(',').any(|name| name == controller).then_some(path)
}

/// Where a group is whose path is `path`, when `root` is mounted at `top`. A container may see paths that are not below
/// its root: then it is at the top itself.
fn below(top: &Path, path: &str, root: &str) -> PathBuf {
    let rest = if root == "/" { Some(path) } else { path.strip_prefix(root) };
    let rest = rest.filter(|rest| !rest.contains("..")).unwrap_or_default().trim_matches('/');
    if rest.is_empty() { top.to_owned() } else { top.join(rest) }
}
